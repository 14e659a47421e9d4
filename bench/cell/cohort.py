"""Who takes part in a cell: whom the protocol chooses, less what leaks; and the base that those
people train.

A Plan says what is asked for, a Cohort who does it. The base's key depends on who trains it, so
only a Cohort has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.cell.plan import Plan
from bench.data import leaks
from bench.errors import InputError
from bench.lm import base as bases
from bench.types import User


@dataclass(frozen=True)
class Cohort:
    """Everybody in one cell. Making one reads the data and loads no weights.

    `shown`: the tested users, with golds and the histories they may show, before the protocol's own
    cut (which may need an encoder); after it they are `users`. `drawn`: the fit users before the
    protocol gives their items a form; after it they are the `group`. `trainers`: all who may fit,
    who train an adapted base. `left_out`: ids of people who may not fit because they are tested.
    `leaks`: all leaks, also those that were dropped.
    """

    plan: Plan
    shown: Sequence[User]
    drawn: Sequence[User]
    trainers: Sequence[User]
    left_out: frozenset[str]
    leaks: leaks.LeakReport

    @cached_property
    def users(self) -> Sequence[User]:
        """The tested users as the method has them; the protocol may load an encoder here."""
        return self.plan.protocol.tested(self.plan.task, self.shown)

    @cached_property
    def group(self) -> Sequence[User]:
        """The fit users as the method has them."""
        return self.plan.protocol.fitting(self.plan.task, self.drawn)

    @cached_property
    def base_key(self) -> str | None:
        """The adapted base that these trainers make; None if the model is taken as it is."""
        plan = self.plan
        if not plan.adapted:
            return None
        return plan.base.key(plan.identity, plan.task, _without(plan.learnt, self.left_out))

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Of the protocol's choice of users and items, for the record."""
        return self.plan.people().counts | _kept(self.shown, self.users)

    @property
    def emptied(self) -> str:
        """What to say, and to do, if `leak=drop` has left nobody to fit; empty if it has not."""
        dropped = self.plan.config["leak"] == "drop" and self.leaks.fit_test_overlap_users
        return _emptied(self.leaks) if dropped and not self.drawn else ""

    def base(self) -> Path | None:
        """The adapted base, if it is at hand;
        one that is to be made again counts only from the cache.
        """
        if self.base_key is None:
            return None
        return bases.find(
            self.base_key, shipped=not self.plan.base.retrain, stale=self.plan.config["stale"]
        )

    def first(self, count: int) -> Sequence[User]:
        """The first tested users, for a look at a prompt: only their histories are cut."""
        return self.plan.protocol.tested(self.plan.task, self.shown[:count])


def cohort(plan: Plan) -> Cohort:
    """What leaks is dropped, flagged or refused (InputError), as `leak=` says; then the protocol's
    histories.

    Whoever trains the base counts as a fit user too, with their whole history.
    """
    policy, protocol, people = plan.config["leak"], plan.protocol, plan.people()
    tested = people.tested[: plan.config["limit"]]
    drawn = protocol.group(people.fitting, plan.seed)

    fitted = people.fitting if plan.adapted else drawn
    report = leaks.report(tested, fitted, plan.task, learnt_histories=plan.adapted)
    exchanged = protocol.exchanged(tested, plan.seed)
    if exchanged is not tested:  # what is looked for must not be in what is shown
        report = report.of_histories(leaks.report(exchanged, (), plan.task))

    trainers = leaks.apply_fit(people.fitting, report, policy)
    if plan.adapted and policy == "drop" and people.fitting and not trainers:
        raise InputError(_emptied(report))
    overlap = report.fit_test_overlap_users if len(trainers) < len(people.fitting) else ()
    return Cohort(
        plan,
        shown=leaks.apply(exchanged, report, policy),
        drawn=leaks.apply_fit(drawn, report, policy),
        trainers=trainers,
        left_out=frozenset((*people.away, *overlap)),
        leaks=report,
    )


def _emptied(report: leaks.LeakReport) -> str:
    users = report.fit_test_overlap_users
    names = ", ".join(users[:3]) + (", ..." if len(users) > 3 else "")
    return (
        f"leak=drop has left nobody to fit: all {len(users)} fit users are tested users too"
        f" ({names}); test or fit others (protocol.fit_split=, protocol.test_split=, data.root=),"
        " or keep them with leak=flag, which every result then says"
    )


def _without(learnt: str, left_out: frozenset[str]) -> str:
    """What a base learns from, in words, less those whose data it may not see."""
    return f"{learnt} without {sorted(left_out)}" if left_out else learnt


def _kept(before: Sequence[User], after: Sequence[User]) -> dict[str, int]:
    """What a protocol that makes other histories left out or made."""
    if before is after or _same_histories(before, after):
        return {}
    return {
        "items_before": _items(before),
        "items_after": _items(after),
        "users_left_out": len(before) - len(after),
    }


def _same_histories(before: Sequence[User], after: Sequence[User]) -> bool:
    # histories are large: no more than one user's of each is in memory
    return len(before) == len(after) and all(
        user.history == other.history for user, other in zip(before, after, strict=True)
    )


def _items(users: Sequence[User]) -> int:
    return sum(len(user.history) for user in users)
