"""CHAMELEON: self-generated preference pairs, directions from their activations, and an edit of MLP
outputs.

Zhang et al. 2025 (arXiv 2503.01048), section 3. What the paper leaves open is a field.
docs/choices.md says what the paper prints and what we chose (A1 to A16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED, SHARE, Fields, Range
from bench.data.question_items import selected
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError, MethodError
from bench.method import Method
from bench.types import Decoding, Item, Personalization, Query, Request, User
from methods.chameleon import directions, insight, pairs, states
from methods.chameleon.ccs_config import CCSConfig
from methods.chameleon.directions import Control, DirectionRecipe, Directions
from methods.chameleon.insight import Author, Insight, Neutral, Writer, Writing
from methods.chameleon.pairs import Equal, PairQuestion, Pairs
from methods.chameleon.states import Layout, Pool, Reading, ReadPairs, Space, T5Side

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM
    from bench.lm.patch import Patch


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
    pool: Pool = "last"
    space: Space = "mlp"
    t5_side: T5Side = "decoder"
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

    @property
    def needs(self) -> frozenset[Capability]:
        """Nothing if a group is edited in no layer: then only the prompt is made."""
        if self.mode == "group" and not self.n_layers:
            return frozenset()
        return frozenset({"activations", "patches"})

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
        selections = selected(self.select, task, users, budget.check)
        chosen = [selection.common for selection in selections]
        insights = self._insights(lm, task, users, chosen, budget)
        questions = []
        for user, selection, of_user in zip(users, selections, insights, strict=True):
            person = user.group or user.id
            for query in user.queries:
                items = selection.items(query)
                questions += [PairQuestion(query, items, own, person) for own in of_user]

        read = self._pairs(lm, task, questions, budget)
        made = read.pairs
        if len(made.kept) < self.min_pairs:
            raise MethodError(
                f"only {len(made.kept)} of {made.asked} pairs differ, fewer than"
                f" min_pairs={self.min_pairs}: take more users (protocol.group_size), more insights"
                " (method.insights_per_user), or lower method.min_pairs"
            )
        found = self._directions(lm, task, read, budget)
        patches = self._patches(lm, found)

        facts = made.counts | {
            "embedder_cut": sum(selection.embedder_cut for selection in selections),
            "questions": len(questions),
            "stopped_by_budget": made.asked < len(questions),
        }
        facts |= dict(found.facts) | {"edited": bool(patches)}
        return Personalization(
            patches=patches, facts=facts, notes=pairs.notes_of(users, insights, made)
        )

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        selections = selected(self.select, task, users)
        # What is written or learnt once for all of a user's questions.
        chosen = [selection.common for selection in selections]
        texts: list[Mapping[str, str]] = [{}] * len(users)
        if self.insight_at_inference:
            phrases = insight.preferences(lm, task, _people(users, chosen), self._writing, budget)
            texts = [{"insight": phrase} for phrase in phrases]

        edits = [Personalization(patches=shared.patches)] * len(users)
        if self.mode == "user":
            edits = self._user_edits(lm, task, users, chosen, budget)
        personals = []
        for selection, text, edit in zip(selections, texts, edits, strict=True):
            prompt = selection.personal
            facts = {**prompt.facts, **edit.facts}
            personals.append(replace(prompt, text=text, patches=edit.patches, facts=facts))
        return personals

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
        """Single-user mode: each history item is asked as a question (without its answer),
        the others shown.
        """
        if not task.has_answers or any(
            task.source not in item.fields for items in chosen for item in items
        ):
            raise MethodError(
                f"method.mode=user: a history item of {task.name} cannot be asked as a question"
            )
        insights = self._insights(lm, task, users, chosen, budget)
        asked = []
        for items, own in zip(chosen, insights, strict=True):
            asked.append(pairs.own_questions(task, items, own))

        # The pairs of all users are made in the same batches, each user's edit from their own.
        made = self._make(lm, task, budget, [question for own in asked for question in own])
        edits = []
        for questions in asked:
            mine = made.of(questions)
            patches: tuple[Patch, ...] = ()
            if len(mine.kept) > 1:
                patches = self._patches(lm, self._directions(lm, task, ReadPairs(mine), budget))
            edits.append(
                Personalization(patches=patches, facts=mine.counts | {"edited": bool(patches)})
            )
        return edits

    def _pairs(
        self, lm: LM, task: Task, questions: Sequence[PairQuestion], budget: Budget
    ) -> ReadPairs:
        """Pairs of all questions, or under a limit of as many as there is time for."""
        if budget.minutes is None:
            return ReadPairs(self._make(lm, task, budget, questions))
        make = partial(self._make, lm, task, budget)
        seed, fewest = self.seed, self.min_pairs
        return states.read_in_parts(
            lm, task, questions, budget, make, self._reading, seed=seed, fewest=fewest
        )

    def _make(self, lm: LM, task: Task, budget: Budget, questions: Sequence[PairQuestion]) -> Pairs:
        return pairs.make(lm, task, questions, budget, verbatim=self.verbatim, equal=self.equal)

    def _directions(self, lm: LM, task: Task, read: ReadPairs, budget: Budget) -> Directions:
        recipe = DirectionRecipe(
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
        tensors = directions.learn(lm, task, read.pairs, self._reading, recipe, budget, read.states)
        found = directions.find(tensors, recipe)
        return directions.controlled(found, tensors, self.control, self.seed * 1000 + self.draw)

    def _patches(self, lm: LM, found: Directions) -> tuple[Patch, ...]:
        from methods.chameleon import edit

        return edit.as_patch(
            lm,
            found,
            alpha_p=self.alpha_p if self.edit != "neutral" else 0.0,
            alpha_n=self.alpha_n if self.edit != "personalized" else 0.0,
            positions=self.positions,
            side=self.t5_side,
        )

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

    @property
    def _reading(self) -> Reading:
        return Reading(self.layout, self.pool, self.space, self.t5_side)


def _people(users: Sequence[User], chosen: Sequence[Sequence[Item]]) -> list[Author]:
    return [Author(user.id, items) for user, items in zip(users, chosen, strict=True)]
