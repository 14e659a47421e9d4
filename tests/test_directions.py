"""CHAMELEON's directions: the algebra of the edit, CCS on planted data,
its nulls, and the choice of layers.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from bench.errors import InputError
from methods.chameleon import ccs as ccs_module
from methods.chameleon.ccs import (
    CCSConfig,
    Norm,
    assign_folds,
    ccs,
    initial_probes,
    nulls,
    random_pairs,
    rematched_pairs,
)
from methods.chameleon.edit import edit, edit_matrix_factors
from methods.chameleon.vectors import (
    cosines,
    mean_direction,
    random_unit,
    rematch,
    top_direction,
    unit,
)

rank_layers = partial(ccs_module.rank_layers, exclude_first=2, exclude_last=1, margin=0.1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(
    layers: int, pairs: int, width: int, offset: float, spread: float = 0.3
) -> tuple[Tensor, Tensor, Tensor]:
    """P and N lie `offset` to either side of a shared context along u;
    also a large mean that both share.
    """
    u = unit(noise(layers, 1, width, seed=1))
    shared = spread * noise(layers, pairs, width, seed=2) + noise(layers, 1, width, seed=3)
    own = 2 * spread * noise(2, layers, pairs, width, seed=4)
    return shared + own[0] + offset * u, shared + own[1] - offset * u, u[:, 0]


def cos(a: Tensor, b: Tensor) -> Tensor:
    return (unit(a) * unit(b)).sum(-1).abs()


def loop(P: Tensor, N: Tensor, config: CCSConfig) -> tuple[Tensor, Tensor, Tensor]:
    """CCS one probe at a time, as its authors wrote it: theta, loss, held-out loss."""

    def pair_losses(p: Tensor, n: Tensor) -> Tensor:
        return (n - (1 - p)) ** 2 + torch.min(n, p) ** config.conf_power

    def answers(rows: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.sigmoid(rows @ w + b)

    start, fold_of = (
        initial_probes(len(P), P.shape[2], config).to(P),
        assign_folds(P.shape[1], config),
    )
    thetas, losses, heldout = [], [], []
    for layer, (p, n) in enumerate(zip(P, N, strict=True)):
        mean = torch.cat([p, n]).mean(0)
        p, n = p - mean, n - mean
        scale = torch.cat([p, n]).norm(dim=1).mean()
        p, n = p / scale, n / scale
        final, left_out, directions = [], [], []
        for restart in range(config.restarts):
            for fold in range(-1, int(fold_of.max()) + 1):
                w = torch.nn.Parameter(start[layer, restart, :-1].clone())
                b = torch.nn.Parameter(start[layer, restart, -1].clone())
                optimizer = torch.optim.AdamW(
                    [w, b], lr=config.lr, weight_decay=config.weight_decay
                )
                seen = fold_of != fold
                for _ in range(config.epochs):
                    optimizer.zero_grad()
                    torch.autograd.backward(
                        pair_losses(answers(p[seen], w, b), answers(n[seen], w, b)).mean()
                    )
                    optimizer.step()
                with torch.no_grad():
                    each = pair_losses(answers(p, w, b), answers(n, w, b))
                    if fold < 0:
                        final.append(each.mean())
                        towards_n = (answers(n, w, b) - answers(p, w, b)).mean().sign()
                        directions.append(towards_n * w / w.norm())
                    else:
                        left_out.append(each[~seen])
        losses.append(torch.stack(final))
        thetas.append(directions[int(losses[-1].argmin())])
        heldout.append(torch.cat(left_out).mean())
    return torch.stack(thetas), torch.stack(losses), torch.stack(heldout)


# The edit


@pytest.fixture
def thetas() -> tuple[Tensor, Tensor]:
    return noise(24, seed=5).double() * 3, noise(24, seed=6).double() * 0.2


X = noise(4, 7, 24, seed=7).double()


def test_the_p_step_doubles_the_component_along_theta_p_and_nothing_else(
    thetas: tuple[Tensor, Tensor],
) -> None:
    p = unit(thetas[0])
    out = edit(X, thetas[0], None)
    torch.testing.assert_close(out @ p, 2 * (X @ p))
    torch.testing.assert_close(out - (out @ p)[..., None] * p, X - (X @ p)[..., None] * p)


def test_after_the_edit_nothing_is_left_along_theta_n(thetas: tuple[Tensor, Tensor]) -> None:
    assert (edit(X, *thetas) @ unit(thetas[1])).abs().max() < 1e-12


def test_the_n_step_twice_is_the_n_step_once(thetas: tuple[Tensor, Tensor]) -> None:
    once = edit(X, None, thetas[1])
    torch.testing.assert_close(edit(once, None, thetas[1]), once)
    assert (once - X).abs().max() > 0.1


def test_sign_and_scale_of_the_directions_do_not_matter(thetas: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(edit(X, -2 * thetas[0], -9 * thetas[1]), edit(X, *thetas))


def test_equal_directions_cancel_to_plain_removal(thetas: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(edit(X, thetas[0], thetas[0]), edit(X, None, thetas[0]))


def test_the_edit_is_the_product_of_its_two_matrices_in_that_order(
    thetas: tuple[Tensor, Tensor],
) -> None:
    p, n = unit(thetas[0]), unit(thetas[1])
    eye = torch.eye(24, dtype=torch.float64)
    first, second = eye + torch.outer(p, p), eye - torch.outer(n, n)
    torch.testing.assert_close(edit(X, *thetas), X @ first @ second)
    assert (edit(X, *thetas) - X @ second @ first).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_zero_strength_leaves_every_bit_as_it_was(
    thetas: tuple[Tensor, Tensor], dtype: torch.dtype
) -> None:
    x = X.to(dtype)
    out = edit(x, *thetas, alpha_p=0.0, alpha_n=0.0)
    assert out.dtype == dtype and torch.equal(out, x)


def test_bfloat16_activations_are_edited_in_float32(thetas: tuple[Tensor, Tensor]) -> None:
    x = X.bfloat16()
    assert torch.equal(edit(x, *thetas), edit(x.float(), *thetas).bfloat16())


@pytest.mark.parametrize(("alpha_p", "alpha_n"), [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)])
def test_folded_edit_equals_edit_of_the_output(
    thetas: tuple[Tensor, Tensor], alpha_p: float, alpha_n: float
) -> None:
    weight, h = noise(24, 40, seed=8).double(), noise(5, 40, seed=9).double()
    B, A = edit_matrix_factors(*thetas, weight, alpha_p, alpha_n)
    assert B.shape == (24, 2) and A.shape == (2, 40)
    folded = h @ (weight + B @ A).T
    torch.testing.assert_close(
        folded, edit(h @ weight.T, *thetas, alpha_p, alpha_n), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_direction_is_a_step_of_zero_strength(
    thetas: tuple[Tensor, Tensor], missing: int
) -> None:
    p, n = (None if side == missing else theta for side, theta in enumerate(thetas))
    alpha_p, alpha_n = (0.0 if side == missing else 1.0 for side in range(2))
    torch.testing.assert_close(edit(X, p, n), edit(X, *thetas, alpha_p, alpha_n))
    weight = noise(24, 40, seed=8).double()
    less, full = (
        edit_matrix_factors(p, n, weight),
        edit_matrix_factors(*thetas, weight, alpha_p, alpha_n),
    )
    torch.testing.assert_close(less.B @ less.A, full.B @ full.A)
    assert less.A.abs().max() > 0


def test_factors_of_a_bfloat16_weight_are_float32(thetas: tuple[Tensor, Tensor]) -> None:
    assert edit_matrix_factors(*thetas, noise(24, 40).bfloat16()).A.dtype == torch.float32


def test_a_zero_direction_is_an_error() -> None:
    with pytest.raises(InputError, match="zero or not finite"):
        edit(X, torch.zeros(24), None)


# Singular directions


@pytest.mark.parametrize("pairs", [12, 90])
def test_svd_finds_a_planted_rank_one_direction_up_to_sign(pairs: int) -> None:
    u = unit(noise(3, 40, seed=1))
    # Mean-free coefficients: the direction is in the spread of the rows, not in their mean.
    strength = noise(3, pairs, 1, seed=2)
    P = (strength - strength.mean(1, keepdim=True)) * 5 * u[:, None] + 0.01 * noise(
        3, pairs, 40, seed=3
    )
    assert cos(top_direction(P), u).min() > 0.999
    assert cos(top_direction(-P), u).min() > 0.999


def test_the_uncentred_top_direction_is_the_mean_activation_and_the_centred_one_is_not() -> None:
    mean, u = unit(noise(3, 1, 40, seed=1)), unit(noise(3, 1, 40, seed=2))
    P = 20 * mean + 2 * noise(3, 50, 1, seed=3) * u + 0.01 * noise(3, 50, 40, seed=4)
    assert cos(top_direction(P), mean_direction(P)).min() > 0.99
    assert cos(top_direction(P, center=True), u[:, 0]).min() > 0.999


def test_cosines_tell_when_theta_p_is_what_both_classes_share() -> None:
    shared, own = 20 * unit(noise(3, 1, 40, seed=1)), noise(2, 3, 50, 40, seed=2) * 0.1
    P, N = shared + own[0], shared + own[1]
    near, far = cosines(P, N, top_direction(P)), cosines(P, N, random_unit(3, 40, seed=0))
    assert near.mean_P.min() > 0.99 and near.top_N.min() > 0.99
    assert far.mean_P.max() < 0.6 and far.top_N.max() < 0.6


# CCS


def test_ccs_recovers_a_planted_direction() -> None:
    P, N, u = planted(6, 400, 16, offset=1.0)
    result = ccs(P, N, CCSConfig(restarts=4))
    assert cos(result.theta, u).min() > 0.9
    assert result.heldout.max() < 0.8 * result.plateau
    # Turned towards N, which lies at -u.
    assert ((result.theta * u).sum(-1) < 0).all()


def test_centring_each_class_by_itself_hides_the_planted_direction() -> None:
    P, N, u = planted(4, 300, 32, offset=1.0)
    assert cos(ccs(P, N, CCSConfig(norm="per_class", restarts=4, folds=0)).theta, u).max() < 0.5


class Published:
    """CCS as Burns et al. (2023) publish it, from its description: each class loses its own mean
    and nothing else; a linear layer and a sigmoid, AdamW on all pairs at once, several tries of
    which the one of lowest loss is kept.
    """

    def __init__(self, x0: Tensor, x1: Tensor) -> None:
        self.x0, self.x1 = x0 - x0.mean(dim=0, keepdim=True), x1 - x1.mean(dim=0, keepdim=True)

    @staticmethod
    def loss(p0: Tensor, p1: Tensor) -> Tensor:
        informative = (torch.min(p0, p1) ** 2).mean(0)
        consistent = ((p0 - (1 - p1)) ** 2).mean(0)
        return (informative + consistent).squeeze()

    def fitted(
        self, starts: Tensor, epochs: int, lr: float, weight_decay: float
    ) -> tuple[Tensor, Tensor]:
        """The direction of the best try, and every try's loss;
        `starts` [tries, width + 1], bias last.
        """
        losses, directions = [], []
        for start in starts:
            layer = torch.nn.Linear(self.x0.shape[1], 1, dtype=self.x0.dtype)
            layer.load_state_dict({"weight": start[None, :-1], "bias": start[-1:]})
            probe = torch.nn.Sequential(layer, torch.nn.Sigmoid())
            optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=weight_decay)
            for _ in range(epochs):
                optimizer.zero_grad()
                torch.autograd.backward(self.loss(probe(self.x0), probe(self.x1)))
                optimizer.step()
            losses.append(self.loss(probe(self.x0), probe(self.x1)).detach())
            directions.append(layer.weight.detach()[0])
        return directions[int(torch.stack(losses).argmin())], torch.stack(losses)


@pytest.mark.parametrize(("norm", "same"), [("ccs", True), ("per_class", False)])
def test_the_norm_ccs_is_that_of_the_published_algorithm(norm: Norm, same: bool) -> None:
    """On activations far from unit size, where dividing them by a number shows."""
    P, N, _ = (7 * t.double() for t in planted(2, 20, 12, offset=0.5))
    config = CCSConfig(norm=norm, restarts=3, epochs=200, lr=1e-3, folds=0)
    found, starts = ccs(P, N, config), initial_probes(2, 12, config).to(P)
    for layer in range(2):
        published = Published(N[layer], P[layer])
        theta, losses = published.fitted(
            starts[layer], config.epochs, config.lr, config.weight_decay
        )
        equal = torch.allclose(found.loss[layer], losses, atol=1e-6, rtol=0)
        equal &= bool(1 - cos(found.theta[layer], theta) < 1e-6)
        assert equal is same


def test_pooled_norm_ignores_a_shared_shift_and_scale() -> None:
    P, N, _ = (t.double() for t in planted(2, 20, 16, offset=1.0))
    shift = 5 * noise(2, 1, 16, seed=9).double()
    config = CCSConfig(restarts=2, epochs=100)
    one, other = ccs(P, N, config), ccs(7 * P + shift, 7 * N + shift, config)
    torch.testing.assert_close(one.theta, other.theta)
    torch.testing.assert_close(one.heldout, other.heldout)


def test_swapping_p_and_n_inside_any_pairs_leaves_theta_n_unchanged() -> None:
    P, N, _ = (t.double() for t in planted(3, 60, 32, offset=1.0))
    swap = (noise(60, seed=11) > 0)[:, None]
    config = CCSConfig(restarts=3)
    one, other = ccs(P, N, config), ccs(torch.where(swap, N, P), torch.where(swap, P, N), config)
    assert cos(one.theta, other.theta).min() > 0.999999
    torch.testing.assert_close(one.heldout, other.heldout)


@pytest.mark.parametrize("conf_power", [1, 2])
def test_batched_ccs_equals_one_probe_at_a_time(conf_power: int) -> None:
    P, N, _ = (t.double() for t in planted(2, 13, 20, offset=0.5))
    config = CCSConfig(conf_power=conf_power, restarts=3, folds=3, epochs=120, lr=1e-2)  # type: ignore[arg-type]
    result = ccs(P, N, config)
    for batched, single in zip(
        (result.theta, result.loss, result.heldout), loop(P, N, config), strict=True
    ):
        torch.testing.assert_close(batched, single, atol=1e-6, rtol=0)


def test_few_pairs_of_noise_fit_perfectly_but_not_on_held_out_pairs() -> None:
    P, N = noise(2, 3, 10, 512)
    result = ccs(P, N, CCSConfig(lr=1e-2, epochs=1000))
    assert result.loss.max() < 1e-3
    assert result.heldout.min() > 0.9 * result.plateau


@pytest.mark.parametrize(("conf_power", "least"), [(1, 0.4375), (2, 0.2)])
def test_the_plateau_is_the_best_loss_of_a_constant_answer(conf_power: int, least: float) -> None:
    same = noise(1, 1, 8).expand(1, 6, 8)
    # Identical rows leave the probe nothing but its bias.
    result = ccs(same, same, CCSConfig(conf_power=conf_power, norm="none", lr=0.05, restarts=2))  # type: ignore[arg-type]
    assert result.plateau == least
    torch.testing.assert_close(result.loss, torch.full_like(result.loss, least), atol=1e-3, rtol=0)


def test_two_pairs_give_a_direction_but_no_held_out_loss_and_one_pair_is_an_error() -> None:
    P, N, _ = planted(1, 2, 8, offset=1.0)
    result = ccs(P, N, CCSConfig(epochs=5))
    assert result.theta.isfinite().all() and result.heldout.isnan().all()
    with pytest.raises(InputError, match="at least 2"):
        ccs(P[:, :1], N[:, :1], CCSConfig())


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (noise(2, 5, 9), r"\[layers, pairs, width\]"),
        (noise(2, 5, 8).bfloat16(), "float32"),
        (torch.full((2, 5, 8), torch.inf), "not finite"),
    ],
)
def test_unusable_activations_are_an_error(P: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ccs(P, noise(2, 5, 8).to(P.dtype), CCSConfig())


def test_a_seed_fixes_everything_and_global_random_state_and_fold_count_change_nothing() -> None:
    P, N, _ = planted(2, 20, 16, offset=0.5)
    torch.manual_seed(1)
    config = CCSConfig(restarts=3, epochs=50)
    one = ccs(P, N, config)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = ccs(P, N, config)
    assert torch.equal(one.theta, two.theta) and torch.equal(one.heldout, two.heldout)
    assert torch.equal(torch.get_rng_state(), state)
    without = ccs(P, N, CCSConfig(restarts=3, epochs=50, folds=0))
    torch.testing.assert_close(without.loss, one.loss)
    assert not torch.allclose(
        ccs(P, N, CCSConfig(restarts=3, epochs=50, seed=1)).loss, one.loss, atol=1e-5
    )


# Nulls, controls and the choice of layers


def test_rematched_pairs_have_wrong_partners_from_their_own_fold() -> None:
    marks = torch.arange(22.0).reshape(1, 22, 1)
    config = CCSConfig()
    # P carries the pair's number, N the number + 100: each row keeps its origin through swap and
    # re-matching.
    left, right = (
        rows.flatten().long() % 100 for rows in rematched_pairs(marks, marks + 100, config)
    )
    fold_of = assign_folds(22, config)
    assert sorted(left.tolist()) == sorted(right.tolist()) == list(range(22))
    assert (left != right).all() and torch.equal(fold_of[left], fold_of[right])


def test_random_pairs_keep_midpoint_and_distance_only() -> None:
    P, N, u = planted(2, 200, 64, offset=2.0, spread=0.05)
    left, right = random_pairs(P, N, seed=0)
    torch.testing.assert_close(left + right, P + N)
    torch.testing.assert_close((left - right).norm(dim=-1), (P - N).norm(dim=-1))
    assert cos(P - N, u[:, None]).mean() > 0.9 and cos(left - right, u[:, None]).mean() < 0.2


def test_a_planted_offset_beats_both_nulls_and_its_rematched_pairs_do_not() -> None:
    P, N, _ = planted(4, 80, 32, offset=1.0)
    config = CCSConfig(restarts=3)
    bar = nulls(P, N, config, draws=2)
    lowest = torch.cat([bar.rematched, bar.random]).amin(0)
    assert (ccs(P, N, config).heldout < 0.9 * lowest).all()
    again = ccs(*rematched_pairs(P, N, config, draw=2), config).heldout
    assert (again > 0.9 * lowest).all()


def test_planted_layers_are_chosen_and_noise_layers_are_not() -> None:
    layers = 12
    P, N = noise(2, layers, 80, 32)
    there = [4, 6, 9]
    P[there], N[there], _ = planted(3, 80, 32, offset=1.5)
    config = CCSConfig(restarts=3)
    result, bar = ccs(P, N, config), nulls(P, N, config)
    choice = rank_layers(result.heldout, *bar, n_layers=5)
    assert sorted(choice.layers) == there
    assert [layer for layer, usable in enumerate(choice.usable) if usable] == there


def test_layers_are_ranked_by_loss_with_ties_to_the_deeper_one() -> None:
    heldout, high = torch.tensor([0.01, 0.01, 0.1, 0.05, 0.1, 0.04, 0.01]), torch.full((7,), 0.5)
    assert rank_layers(heldout, high, high, n_layers=3).layers == (5, 3, 4)
    assert rank_layers(heldout, high, high, n_layers=9, exclude_first=0, exclude_last=0).layers == (
        6,
        1,
        0,
        5,
        3,
        4,
        2,
    )


def test_a_layer_must_be_below_every_draw_of_both_nulls() -> None:
    heldout = torch.tensor([0.1, 0.1, 0.1, 0.1])
    rematched = torch.tensor([[0.2, 0.2, 0.05, 0.2], [0.2, 0.2, 0.2, 0.2]])
    random = torch.tensor([0.2, 0.101, 0.2, 0.2])

    def chosen(**options: float) -> tuple[int, ...]:
        limits = {"n_layers": 4, "exclude_first": 0, "exclude_last": 0}
        return rank_layers(heldout, rematched, random, **limits | options).layers  # type: ignore[arg-type]

    assert chosen() == (3, 0)
    assert chosen(margin=0.0) == (3, 1, 0)
    assert chosen(plateau=0.1) == ()
    assert chosen(require_below_null=False) == (3, 2, 1, 0)


def test_ranking_by_training_loss_keeps_the_held_out_bar() -> None:
    heldout, null = torch.tensor([0.1, 0.2, 0.9]), torch.full((3,), 0.5)
    train = torch.tensor([[0.4, 0.2], [0.1, 0.1], [0.0, 0.0]])
    limits = {"n_layers": 3, "exclude_first": 0, "exclude_last": 0}
    assert rank_layers(heldout, null, null, rank_by="train", train=train, **limits).layers == (1, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="training loss"):
        rank_layers(heldout, null, null, rank_by="train", **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("strict", [True, False])
def test_a_layer_without_held_out_loss_is_never_chosen_by_it(strict: bool) -> None:
    nothing, train = torch.full((4,), float("nan")), torch.rand(4, 2)
    limits = {
        "n_layers": 2,
        "exclude_first": 0,
        "exclude_last": 0,
        "margin": 0.0,
        "require_below_null": strict,
    }
    assert rank_layers(nothing, nothing, nothing, train=train, **limits).layers == ()  # type: ignore[arg-type]
    some = torch.tensor([float("nan"), 0.3, float("nan"), 0.2])
    null = torch.full((4,), 0.5)
    assert rank_layers(some, null, null, train=train, **limits).layers == (3, 1)  # type: ignore[arg-type]


def test_rematch_moves_every_row_and_loses_none() -> None:
    rows = torch.arange(30.0).reshape(1, 15, 2)
    for seed in range(5):
        moved = rematch(rows, seed)
        assert (moved != rows).all() and torch.equal(moved.sort(1).values, rows)
    assert not torch.equal(rematch(rows, 0), rematch(rows, 1))


def test_random_directions_are_unit_and_fixed_by_their_seed() -> None:
    one = random_unit(5, 64, seed=3)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(5))
    assert (
        torch.equal(one, random_unit(5, 64, seed=3))
        and cos(one, random_unit(5, 64, seed=4)).max() < 0.7
    )


def test_one_persons_pairs_are_never_in_two_folds() -> None:
    people = tuple(n // 3 for n in range(30))
    fold_of = assign_folds(30, CCSConfig(folds=4, groups=people)).tolist()
    assert len(set(fold_of)) == 4
    assert all(
        len({fold_of[n] for n in range(30) if people[n] == person}) == 1 for person in set(people)
    )
    assert assign_folds(6, CCSConfig(groups=(0,) * 6)).tolist() == [-1] * 6, (
        "one person alone cannot be held out"
    )
    with pytest.raises(InputError, match="5 groups for 6 pairs"):
        assign_folds(6, CCSConfig(groups=(0,) * 5))
