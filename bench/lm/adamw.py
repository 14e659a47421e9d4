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
        self.weights = list(weights.values())
        self.tuning = tuning
        self.count = 0
        self.first = [torch.zeros_like(tensor) for tensor in self.weights]
        self.second = [torch.zeros_like(tensor) for tensor in self.weights]

    @torch.no_grad()
    def step(
        self, rates: Sequence[float], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        """One step down the gradients, each user with their part of the learning rate.

        `rates` [users]: what the schedule says of each user now, between 0 and 1.
        """
        self.count += 1
        gradients = self._gradients()
        clips = self._clips(gradients)
        user_rates = torch.tensor(rates, device=clips.device) * self.tuning.learning_rate
        # The moments start at 0. These undo how much too small that makes them in the first steps.
        first_share = 1 - betas[0] ** self.count
        second_share = 1 - betas[1] ** self.count

        for weight, gradient, first, second in zip(
            self.weights, gradients, self.first, self.second, strict=True
        ):
            # A number for each user, spread over the rest of the tensor.
            shape = (-1, *[1] * (weight.dim() - 1))
            rate = user_rates.view(shape)
            gradient = gradient * clips.view(shape)
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            # In place, and decay before the step, as torch has it: the same roundings.
            weight.mul_(1 - rate * self.tuning.weight_decay)
            weight.sub_(rate / first_share * first / (second.sqrt() / second_share**0.5 + eps))
            weight.grad = None

    def _gradients(self) -> list[Tensor]:
        """Of each tensor [users, ...]; zeros where no row of the step came to it."""
        gradients = []
        for weight in self.weights:
            gradients.append(torch.zeros_like(weight) if weight.grad is None else weight.grad)
        return gradients

    def _clips(self, gradients: Sequence[Tensor]) -> Tensor:
        """The factor [users] that shortens each user's gradient to `max_grad_norm` at the most."""
        # A user's norm is over all their tensors, and over no other user's.
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
        norms = torch.stack(squares).sum(0).sqrt()
        return (self.tuning.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
