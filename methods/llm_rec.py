"""LLM-REC: the prompt shows texts that the model has written about the user's history and about the
question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED
from bench.data.dates import before_all
from bench.data.selection import PCASelection
from bench.data.task import Task
from bench.errors import InputError
from bench.lm.texts import Writer, write
from bench.method import Method
from bench.types import Completion, Decoding, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.model import LM

SUMMARIZED = ("eng", "rec_eng")
DESCRIBED = ("basic", "rec", "rec_eng")


@dataclass(frozen=True)
class LLMRec(Method):
    """Lyu et al. 2024, as CHAMELEON uses it: "summaries of selected top user history"
    (docs/choices.md, A19).

    `eng`: one summary a user, of what the selected history has in common, in place of the history.
    `basic`, `rec`: one description a question (its paraphrase, or what would recommend it) after
    the question's own text. `rec_eng`: both. `form`: sentences (`para`) or tags (`tag`). `prompts`:
    their wording by name, `eng` and `{basic,rec}_{para,tag}`. A user without history has no
    summary. Nothing is drawn unless `decoding.rule=sample`.
    """

    ONLY_WITH: ClassVar = {"seed": ("decoding.rule", ("sample",))}

    select: PCASelection
    prompts: Mapping[str, str]
    arm: Literal["basic", "rec", "eng", "rec_eng"] = "rec_eng"
    form: Literal["para", "tag"] = "para"
    writer: Writer = "instruct"
    decoding: Decoding = field(default_factory=Decoding)
    max_new_tokens: Annotated[int, COUNT] = 64
    seed: Annotated[int, SEED] = 0

    def check(self, task: Task) -> None:
        for name in self._needed():
            if name not in self.prompts:
                raise InputError(f"method.prompts.{name} is missing: method.arm={self.arm} asks it")

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        summaries = self._summaries(lm, task, users, budget) if self.arm in SUMMARIZED else {}
        described = self._descriptions(lm, task, users, budget) if self.arm in DESCRIBED else {}
        cut = self.select.cut(task, users) if self.arm in SUMMARIZED else [0] * len(users)
        personals = []
        for user, embedder_cut in zip(users, cut, strict=True):
            personal = self._personal(user, summaries, described)
            facts = {**personal.facts, "embedder_cut": embedder_cut}
            personals.append(replace(personal, facts=facts))
        return personals

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        """The prompt without history lines;
        Lyu et al. put a description behind the text it describes.
        """
        description = personal.text.get(f"description/{query.id}")
        asked = replace(query, text=f"{query.text}\n{description}") if description else query
        return Request(task.render(asked, (), profile=personal.text.get("summary")))

    def _needed(self) -> list[str]:
        """Names of the prompts that this arm asks."""
        names = [self._description] if self.arm in DESCRIBED else []
        return names + (["eng"] if self.arm in SUMMARIZED else [])

    @property
    def _description(self) -> str:
        """Name of the prompt that describes a question."""
        return f"{'basic' if self.arm == 'basic' else 'rec'}_{self.form}"

    def _personal(
        self, user: User, summaries: Mapping[str, Completion], described: Mapping[str, Completion]
    ) -> Personalization:
        text, descriptions, written = dict[str, str](), dict[str, str](), list[Completion]()
        for query in user.queries:
            description = described.get(query.id)
            if description is not None:
                descriptions[query.id] = description.text
                text[f"description/{query.id}"] = description.text
                written.append(description)
        notes: dict[str, object] = {"descriptions": descriptions}
        summary = summaries.get(user.id)
        if summary is not None:
            text["summary"] = notes["summary"] = summary.text
            written.append(summary)
        facts = {
            "without_summary": self.arm in SUMMARIZED and summary is None,
            "texts_empty": sum(not answer.text for answer in written),
            "texts_unfinished": sum(not answer.finished for answer in written),
        }
        return Personalization(text, (), facts=facts, notes=notes)

    def _summaries(
        self, lm: LM, task: Task, users: Sequence[User], budget: Budget
    ) -> dict[str, Completion]:
        """By user id, of every user with a history that all their questions may see."""
        readable = [user for user in map(before_all, users) if user.history]
        requests = []
        for user, items in zip(readable, self.select.select(task, readable), strict=True):
            messages = task.ask(self.prompts["eng"], items)
            requests.append(Request(messages, name=f"{task.name} summary of {user.id}"))
        answers = self._write(lm, requests, budget, "summaries")
        return {user.id: answer for user, answer in zip(readable, answers, strict=True)}

    def _descriptions(
        self, lm: LM, task: Task, users: Sequence[User], budget: Budget
    ) -> dict[str, Completion]:
        """By question id."""
        prompt = self.prompts[self._description]
        queries = [query for user in users for query in user.queries]
        requests = []
        for query in queries:
            name = f"{task.name} description of {query.id}"
            requests.append(Request(task.ask(prompt, query=query), name=name))
        answers = self._write(lm, requests, budget, "descriptions")
        return {query.id: answer for query, answer in zip(queries, answers, strict=True)}

    def _write(
        self, lm: LM, requests: Sequence[Request], budget: Budget, phase: str
    ) -> list[Completion]:
        return write(
            lm,
            requests,
            writer=self.writer,
            max_new_tokens=self.max_new_tokens,
            decoding=replace(self.decoding, seed=self.seed),
            budget=budget,
            phase=phase,
        )
