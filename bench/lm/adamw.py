"""AdamW for many users at once, each as if alone: a user's steps depend on no other user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.lm.recipes import Tuning


class UserAdamW:
    """AdamW on tensors stacked over users [users, ...]: each user has a learning rate and a
    gradient norm of their own.

    The same arithmetic as torch.optim.AdamW's. A user with a rate of zero has finished and stays as
    they are.
    """

    def __init__(self, weights: Mapping[str, Tensor], tuning: Tuning) -> None:
        self.weights, self.tuning, self.count = list(weights.values()), tuning, 0
        self.first = [torch.zeros_like(tensor) for tensor in self.weights]
        self.second = [torch.zeros_like(tensor) for tensor in self.weights]

    @torch.no_grad()
    def step(
        self, rates: Sequence[float], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.count += 1
        gradients = []
        for weight in self.weights:
            gradients.append(torch.zeros_like(weight) if weight.grad is None else weight.grad)
        # A user's norm is over all their tensors, and over no other user's.
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
        norms = torch.stack(squares).sum(0).sqrt()
        clip = (self.tuning.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        lr = torch.tensor(rates, device=norms.device) * self.tuning.learning_rate
        # The moments start at 0. These undo how much too small that makes them in the first steps.
        one, two = 1 - betas[0] ** self.count, 1 - betas[1] ** self.count
        for weight, gradient, first, second in zip(
            self.weights, gradients, self.first, self.second, strict=True
        ):
            # A number for each user, spread over the rest of the tensor.
            shape = (-1, *[1] * (weight.dim() - 1))
            gradient = gradient * clip.view(shape)
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            weight.mul_(1 - lr.view(shape) * self.tuning.weight_decay)
            weight.sub_(lr.view(shape) / one * first / (second.sqrt() / two**0.5 + eps))
            weight.grad = None
