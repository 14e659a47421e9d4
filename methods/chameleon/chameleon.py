"""CHAMELEON: self-generated preference pairs, directions from their activations, and an edit of MLP
outputs.

Zhang et al. 2025 (arXiv 2503.01048), section 3. Where the paper is silent the choice is a field;
docs/choices.md tells what the paper prints and what we chose (A1 to A16).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED, SHARE, Fields, Range
from bench.data.question_items import selected
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError, MethodError, OverBudget
from bench.method import Method
from bench.types import Decoding, Item, Personalization, Query, Request, User
from methods.chameleon import insight, pairs
from methods.chameleon.ccs_config import CCSConfig
from methods.chameleon.edit import (
    Control,
    Directions,
    EditRecipe,
    as_patch,
    controlled,
    find,
    fit_directions,
)
from methods.chameleon.insight import Author, Insight, Neutral, Writer, Writing
from methods.chameleon.pairs import Equal, Layout, PairQuestion, Pairs

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cost.budget import Budget
    from bench.lm.model import LM
    from bench.lm.patch import Patch


PART = 16
"""Questions whose pairs are made and read before the budget is asked again, where there is a limit.
"""


@dataclass(frozen=True)
class Chameleon(Method):
    """Fields in the order of the paper's steps; conf/method/chameleon.yaml holds the defaults of
    both recipes.

    `recipe` names the set of defaults that the other fields come from, ours or the paper's as
    printed; it does nothing itself. `insight_neutral`: one impersonal insight for each user, or one
    for all. `equal`: which answers make no pair. `mode`: `group` pools the pairs of all fit users
    into one edit; `user` makes one edit for each tested user from their own history. `min_pairs`:
    fewer than this and a group's cell fails rather than fit noise; a user with fewer than two is
    left unedited, and counted. `edit`: which half is applied. `control`, `draw`: what stands in for
    the directions.
    """

    ONLY_WITH: ClassVar = {
        "draw": ("control", ("random_directions",)),
        "null_margin": ("require_below_null", (True,)),
    }
    # Younger than published records, and what these were made with.
    UNSAID: ClassVar = {
        "null_margin": 0.1,
        "exclude_first": 2,
        "exclude_last": 1,
        "recipe": "lamplight",
        "insight_neutral": "shared",
        "equal": "folded",
    }

    select: PCASelection
    recipe: Literal["lamplight", "printed"] = "lamplight"
    insights_per_user: Annotated[int, Range(1, 1000)] = 1
    insight_neutral: Neutral = "own"
    insight_decoding: Decoding = field(
        default_factory=lambda: Decoding("sample", temperature=0.7, top_p=0.9)
    )
    insight_writer: Writer = "instruct"
    verbatim: bool = False
    equal: Equal = "folded"
    layout: Layout = "prompt_y"
    pool: Literal["last", "mean_answer", "last_eos"] = "last"
    space: Literal["mlp", "resid"] = "mlp"
    t5_side: Literal["decoder", "encoder"] = "decoder"
    svd_center: bool = False
    svd_on: Literal["P", "P_minus_N"] = "P"
    ccs: Annotated[Mapping[str, Any], Fields(CCSConfig, ("seed", "groups"))] = field(
        default_factory=dict
    )
    rank_by: Literal["heldout", "train"] = "heldout"
    require_below_null: bool = True
    null_margin: Annotated[float, SHARE] = 0.1
    exclude_first: int = 2
    exclude_last: int = 1
    n_layers: int = 5
    alpha_p: float = 1.0
    alpha_n: float = 1.0
    positions: Literal["all", "last", "generated"] = "all"
    insight_at_inference: bool = False
    mode: Literal["group", "user"] = "group"
    min_pairs: Annotated[int, COUNT] = 16
    edit: Literal["both", "personalized", "neutral"] = "both"
    control: Control = "none"
    draw: int = 0
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        if self.t5_side == "encoder" and self.positions != "all":
            raise InputError(
                "method.t5_side=encoder reads the whole prompt at once: it needs"
                " method.positions=all"
            )
        if self.rank_by == "train" and self.require_below_null and self.ccs.get("folds") == 0:
            raise InputError(
                "method.rank_by=train with method.ccs.folds=0 has no held-out loss: set"
                " method.require_below_null=false"
            )

    def check(self, task: Task) -> None:
        if self.mode == "user" and not task.has_answers:
            raise InputError(
                f"method.mode=user: a history item of {task.name} cannot be asked as a question"
            )

    def reads_fit_users(self, task: Task) -> bool:
        return self.mode == "group" and self.n_layers > 0

    def fit(self, lm: LM, task: Task, users: Sequence[User], budget: Budget) -> Personalization:
        """Group mode: one edit from the fit users' questions. Their golds are never used."""
        if self.mode == "user":
            return Personalization()
        if not self.n_layers:  # no edit is wanted: nothing to learn
            return Personalization(facts={"layers": [], "edited": False})
        told = selected(self.select, task, users, budget.check)
        chosen = [one.common for one in told]
        insights = self._insights(lm, task, users, chosen, budget)
        questions = [
            PairQuestion(query, shown.items(query), one, user.group or user.id)
            for user, shown, own in zip(users, told, insights, strict=True)
            for query in user.queries
            for one in own
        ]
        made, states = self._pairs(lm, task, questions, budget)
        counts = _counts(made) | {
            "embedder_cut": sum(one.embedder_cut for one in told),
            "questions": len(questions),
            "stopped_by_budget": made.asked < len(questions),
        }
        if len(made.kept) < self.min_pairs:
            raise MethodError(
                f"only {len(made.kept)} of {made.asked} pairs differ, fewer than"
                f" min_pairs={self.min_pairs}: take more users (protocol.group_size), more insights"
                " (method.insights_per_user), or lower method.min_pairs"
            )
        found, patches = self._edit(lm, task, made, budget, states)
        notes = {
            "insights": {
                user.id: [[one.personal, one.neutral] for one in own]
                for user, own in zip(users, insights, strict=True)
            },
            "pairs": [[pair.question.query.id, pair.personal, pair.neutral] for pair in made.kept],
        }
        facts = counts | dict(found.facts) | {"edited": bool(patches)}
        return Personalization(patches=patches, facts=facts, notes=notes)

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        found = selected(self.select, task, users)
        prompts = [one.personal for one in found]
        # what is written or learnt once for all of a user's questions
        chosen = [one.common for one in found]
        text: list[Mapping[str, str]] = [{}] * len(users)
        if self.insight_at_inference:
            told = insight.preferences(lm, task, _people(users, chosen), self._writing, budget)
            text = [{"insight": one} for one in told]
        if self.mode == "group":
            return [
                replace(one, text=words, patches=shared.patches)
                for one, words in zip(prompts, text, strict=True)
            ]
        own = self._user_edits(lm, task, users, chosen, budget)
        return [
            replace(
                one,
                text=words,
                items=shown.items,
                shown=shown.shown,
                facts={**shown.facts, **one.facts},
            )
            for one, shown, words in zip(own, prompts, text, strict=True)
        ]

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        """The baseline's prompt (A13: without the insight); the edit is the difference."""
        messages = task.render(
            query, personal.items_for(query), insight=personal.text.get("insight")
        )
        return Request(messages, personal.patches)

    def _user_edits(
        self,
        lm: LM,
        task: Task,
        users: Sequence[User],
        chosen: Sequence[tuple[Item, ...]],
        budget: Budget,
    ) -> list[Personalization]:
        """Single-user mode: each history item is asked as a question (without its answer), the
        others shown.
        """
        if not task.has_answers or any(
            task.source not in item.fields for items in chosen for item in items
        ):
            raise MethodError(
                f"method.mode=user: a history item of {task.name} cannot be asked as a question"
            )
        insights = self._insights(lm, task, users, chosen, budget)
        asked = [
            _own_questions(task, items, own) for items, own in zip(chosen, insights, strict=True)
        ]
        made = self._made(lm, task, [one for own in asked for one in own], budget)
        found = []
        for questions in asked:
            mine = made.of(questions)
            patches = self._edit(lm, task, mine, budget)[1] if len(mine.kept) > 1 else ()
            counts = _counts(mine)
            found.append(Personalization(patches=patches, facts=counts | {"edited": bool(patches)}))
        return found

    def _pairs(
        self, lm: LM, task: Task, questions: Sequence[PairQuestion], budget: Budget
    ) -> tuple[Pairs, list[Tensor]]:
        """Pairs of all questions; or under a limit, of as many questions in random order as there
        is time for.

        There, each part's activations are read before the next part is asked, so that past the
        limit only the directions are left to do. Raises OverBudget where the limit leaves fewer
        than `min_pairs`.
        """
        if budget.minutes is None:
            return self._made(lm, task, questions, budget), []
        order = list(questions)
        random.Random(f"chameleon/{self.seed}/part").shuffle(order)
        made = Pairs(())
        states: list[Tensor] = []
        try:
            for at in range(0, len(order), PART):
                part = self._made(lm, task, order[at : at + PART], budget)
                if part.kept:
                    states.append(
                        self._read(lm, *pairs.readings(task, part.kept, self.layout), budget)
                    )
                made += part
        except OverBudget:
            if len(made.kept) < self.min_pairs:
                raise
        return made, states

    def _made(self, lm: LM, task: Task, questions: Sequence[PairQuestion], budget: Budget) -> Pairs:
        return pairs.make(lm, task, questions, budget, verbatim=self.verbatim, equal=self.equal)

    def _read(
        self, lm: LM, requests: Sequence[Request], endings: Sequence[str], budget: Budget
    ) -> Tensor:
        with budget.phase("activations", total=len(requests)) as progress:
            states = lm.activations(
                requests, endings, space=self.space, pool=self.pool, side=self.t5_side
            )
            progress.advance(len(requests))
        return states

    def _edit(
        self, lm: LM, task: Task, made: Pairs, budget: Budget, read: Sequence[Tensor] = ()
    ) -> tuple[Directions, tuple[Patch, ...]]:
        """Directions and patch from the pairs, whose activations may be `read` already.

        What is slow is remembered, so that controls share it.
        """
        recipe = EditRecipe(
            self.ccs,
            self.svd_center,
            self.svd_on,
            self.n_layers,
            self.rank_by,
            self.require_below_null,
            self.null_margin,
            (self.exclude_first, self.exclude_last),
            self.seed,
        )
        requests, endings = pairs.readings(task, made.kept, self.layout)
        names = [pair.question.person for pair in made.kept]
        people = [names.index(name) for name in names]

        def compute() -> dict[str, Tensor]:
            import torch

            states = (
                torch.cat(list(read), dim=1) if read else self._read(lm, requests, endings, budget)
            )
            with budget.phase("directions"):
                return fit_directions(states[:, ::2], states[:, 1::2], people, recipe)

        reading = [[message.text for message in request.messages] for request in requests]
        how: list[Any] = [
            self.space,
            self.pool,
            self.t5_side,
            dict(self.ccs),
            self.svd_center,
            self.svd_on,
            self.seed,
        ]
        how += ["in parts"] if read else []
        tensors = lm.remember(
            {
                "what": "chameleon directions",
                "read": reading,
                "endings": endings,
                "people": people,
                "how": how,
            },
            compute,
        )
        found = controlled(
            find(tensors, recipe), tensors, self.control, self.seed * 1000 + self.draw
        )
        patches = as_patch(
            lm,
            found,
            alpha_p=self.alpha_p if self.edit != "neutral" else 0.0,
            alpha_n=self.alpha_n if self.edit != "personalized" else 0.0,
            positions=self.positions,
            side=self.t5_side,
        )
        return found, patches

    def _insights(
        self,
        lm: LM,
        task: Task,
        users: Sequence[User],
        chosen: Sequence[Sequence[Item]],
        budget: Budget,
    ) -> list[list[Insight]]:
        return insight.write(
            lm, task, _people(users, chosen), self._writing, budget, each=self.insights_per_user
        )

    @property
    def _writing(self) -> Writing:
        decoding = replace(self.insight_decoding, seed=self.seed)
        return Writing(decoding, self.insight_writer, self.insight_neutral)


def _people(users: Sequence[User], chosen: Sequence[Sequence[Item]]) -> list[Author]:
    return [Author(user.id, items) for user, items in zip(users, chosen, strict=True)]


def _own_questions(
    task: Task, items: Sequence[Item], insights: Sequence[Insight]
) -> list[PairQuestion]:
    questions = []
    for index, item in enumerate(items):
        text = item.fields[task.source]
        others = tuple(items[:index]) + tuple(items[index + 1 :])
        query = Query(item.id, task.input_template.replace("{" + task.source + "}", text), text)
        questions += [PairQuestion(query, others, one, item.id) for one in insights]
    return questions


def _counts(made: Pairs) -> dict[str, Any]:
    return {
        "pairs_asked": made.asked,
        "pairs_kept": len(made.kept),
        "pairs_equal": len(made.equal),
        "pairs_empty": len(made.empty),
    }
