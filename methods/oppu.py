"""OPPU (Tan et al. 2024, arXiv 2402.04401): one small adapter for each user, trained on their own
history, on a base that knows the task.

Where each part of the paper is:

    3    history that is retrieved          bench/data/retrieval.py
    3    written profiles                   bench/lm/profile.py
    3.2  the base adapted to the task       bench/lm/base.py, bench/lm/base_examples.py
    3.3  what is learnt of a user           methods/oppu.py: pairs
    3.3  the user's adapter, trained        bench/lm/bank.py, bench/lm/joint_training.py
    3.3  how rows meet their own adapter    bench/lm/multi_lora.py
    4    the users who are tested           conf/protocol/oppu.yaml, bench/data/people.py
    4    history cut, or of one side        bench/data/histories.py
    4    tables and figures                 conf/experiment/oppu_*.yaml
    H    the prompts                        conf/task/*.yaml: oppu

What the paper leaves open, and what was chosen: docs/choices.md, A20 to A24 and A27.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from bench.checks.bounds import COUNT, SEED, Fields
from bench.data.dates import Places, before_all
from bench.data.retrieval import Ranking, Retriever, showing
from bench.data.task import Kind, Task
from bench.data.truncation import cut, shortened
from bench.errors import InputError, one_of
from bench.lm.profile import Profile, facts
from bench.lm.recipes import PatchKind
from bench.method import Method
from bench.types import Item, Message, Personalization, Query, Request, User

if TYPE_CHECKING:
    from bench.cost.budget import Budget
    from bench.lm.backend import Capability
    from bench.lm.model import LM
    from bench.lm.multi_lora import StackedAdapters
    from bench.lm.tune import Example

CODE_WORDS = 768
"""Words of each field of an item that is learnt (OPPU's code)."""

NOTED_ITEMS, NOTED_WORDS = 20, 60
"""Of a history, what is kept beside the record to be read."""

Form = Literal["plain", "rag", "pag"]
Peft = Literal["lora", "ia3", "prompt_tuning"]
Counts = Mapping[str, Annotated[int, COUNT]]


@dataclass(frozen=True)
class OPPURecipe:
    """Epochs and batch of a user's training by task; `other`: of tasks that are not named."""

    epochs: Counts
    batch: Counts


BY_KIND: Mapping[Kind, Mapping[str, int]] = {
    "classification": {"epochs": 3, "batch": 4},
    "rating": {"epochs": 3, "batch": 3},
    "generation": {"epochs": 2, "batch": 8},
}
"""What the paper has for LaMP-2M, LaMP-3 and LaMP-4."""


@dataclass(frozen=True)
class OPPU(Method):
    """Tan et al. 2024, section 3. Golds are never read: only the history is learnt.

    `form`: what the prompt shows, in training as at test: nothing (`plain`), `k` retrieved items
    (`rag`), a written profile and `k` items (`pag`). An item is asked as a question with only older
    items to retrieve from. `style`: the baseline's prompt, or OPPU's own. `recipe`: epochs and
    batch by task, the paper's or the code's, and by kind of a task that it does not name.
    `shared_start`: every user's adapter starts from the same numbers, so that adapters can be
    compared; False: each from its own. `item_words`: an item that is learnt is cut to so many
    words. None is the code's 768 words with OPPU's own prompt. With other prompts it is the whole
    item, because a question of the test is never cut. A user without history has no patch and is
    counted.
    """

    ONLY_WITH: ClassVar = {"profile": ("form", ("pag",)), "retriever": ("form", ("rag", "pag"))}

    retriever: Retriever
    profile: Profile = field(default_factory=Profile)
    form: Form = "rag"
    k: int = 4
    style: Literal["personalized", "oppu"] = "personalized"
    peft: Peft = "lora"
    recipe: str = "paper"
    recipes: Mapping[str, Annotated[Mapping[str, Any], Fields(OPPURecipe)]] = field(
        default_factory=dict
    )
    kinds: Mapping[Peft, Annotated[Mapping[str, Any], Fields(PatchKind)]] = field(
        default_factory=dict
    )
    item_words: Annotated[int, COUNT] | None = None
    shared_start: bool = True
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        one_of("method.peft", self.peft, tuple(self.kinds))
        one_of("method.recipe", self.recipe, tuple(self.recipes))

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"training", "patches"})

    def adapt(
        self, lm: LM, task: Task, users: Sequence[User], shared: Personalization, budget: Budget
    ) -> list[Personalization]:
        """A patch for each user; all users of a chunk are trained together."""
        with budget.phase("load"):
            from bench.lm.bank import UserTuning, train_all

        profiles = self.profile.write(lm, task, users, budget) if self.form == "pag" else {}
        adapter = self._adapter(lm, task)
        lessons: list[_Lesson] = []
        jobs: dict[int, UserTuning] = {}
        for index, user in enumerate(users):
            budget.check()
            profile = profiles.get(user.id)
            pairs = self.pairs(task, before_all(user), profile.text if profile else None)
            readable = [pair for pair in pairs if _fits(lm, pair, adapter)]
            lessons.append(_Lesson(len(readable), len(pairs) - len(readable)))
            if readable:
                seed = self.seed if self.shared_start else _own_seed(self.seed, user.id)
                jobs[index] = UserTuning(f"user {user.id}", readable, seed)

        trained = train_all(lm, list(jobs.values()), adapter, budget) if jobs else []
        patches = dict(zip(jobs, trained, strict=True))
        personals = []
        for index, ranking in enumerate(self._ranked(task, users, budget=budget)):
            user = users[index]
            prompt = showing(user.queries, user.history, ranking.places, self.style, ranking.facts)
            profile = profiles.get(user.id)
            notes: dict[str, Any] = {"history": _summary(task, before_all(user).history)}
            if profile is not None:
                notes["profile"] = profile.text

            counts: dict[str, Any] = {
                "items_learnt": lessons[index].learnt,
                "without_patch": index not in patches,
                "items_too_long": lessons[index].too_long,
            }
            if not self._shows_nothing:
                counts |= prompt.facts
            if self.form == "pag":
                counts |= facts(profile)

            patch = (patches[index],) if index in patches else ()
            personals.append(replace(prompt, text=notes, patches=patch, facts=counts, notes=notes))
        return personals

    def request(self, task: Task, user: User, query: Query, personal: Personalization) -> Request:
        items = () if self._shows_nothing else personal.items_for(query)
        messages = task.render(query, items, style=self.style, profile=personal.text.get("profile"))
        return Request(messages, personal.patches)

    def pairs(self, task: Task, user: User, profile: str | None) -> list[Example]:
        """What is learnt of one user, oldest item first; nothing but this user's items, nothing
        newer than the item.

        A tweet is learnt as text behind `tweet:`, a paper's citation behind its title, and what is
        left of an item that has lost a side behind its name (`tag:`), all without retrieved items
        (section 3.3 of the paper, next-token prediction on a history that is not in the task's
        form; table 4).
        """
        from bench.lm.tune import Example

        items = [self._learnt(item) for item in user.history]
        # One item without its second side, and the history is not in the task's form.
        if not task.has_answers or any(task.one_sided(item) for item in items):
            texts = [self._as_text(task, item) for item in items]
            return [example for example in texts if example.answer.strip()]

        queries, older = [], []
        for index, item in enumerate(items):
            queries.append(_question(task, user, item, index))
            older.append(tuple(range(index)))
        [ranking] = self._ranked(task, [replace(user, queries=tuple(queries))], [older])

        examples = []
        for item, query, best in zip(items, queries, ranking.places, strict=True):
            answer = task.answer(item)
            if not answer or not query.text.strip():
                continue
            # The baseline's prompt has items in the order of the history, OPPU's as they rank.
            order = sorted(best) if self.style == "personalized" else best
            earlier = [user.history[place] for place in order]
            messages = task.render(query, earlier, style=self.style, profile=profile, learnt=True)
            examples.append(Example(Request(messages, name=f"{task.name} item {item.id}"), answer))
        return examples

    def _learnt(self, item: Item) -> Item:
        """The item as it is learnt: as OPPU's code has it in its own prompt, else as a prompt of
        the test shows it.
        """
        if self.style == "oppu":
            return shortened(item, CODE_WORDS if self.item_words is None else self.item_words)
        return item if self.item_words is None else cut(item, self.item_words)

    @property
    def _shows_nothing(self) -> bool:
        return self.form == "plain" or self.k == 0

    def _ranked(
        self,
        task: Task,
        users: Sequence[User],
        among: Sequence[Sequence[Places]] | None = None,
        budget: Budget | None = None,
    ) -> list[Ranking]:
        if self._shows_nothing:
            return [Ranking([() for _ in user.queries]) for user in users]
        return self.retriever.top(task, users, self.k, among=among, budget=budget)

    def _as_text(self, task: Task, item: Item) -> Example:
        from bench.lm.tune import Example

        # The last field of a template is what is learnt; the prompt is what stands before it.
        template = task.one_sided(item) or task.oppu["OPPU_full"]
        before, _, last = template.rpartition("{")
        target = item.fields[last.rstrip("}") if task.has_answers else task.source]
        # What a paper cites is in OPPU's own release, and not in LaMP's.
        if task.cites and "citation" in item.fields:
            before = before.replace("{title}", item.fields["title"])
            target = item.fields["citation"]
        elif task.cites:
            before = before.partition("{title}")[0]
        messages = (Message("user", (before.rstrip(),)),)
        return Example(Request(messages, name=f"{task.name} item {item.id}"), target.strip())

    def _steps(self, task: Task, what: Literal["epochs", "batch"]) -> int:
        """Epochs or batch of a task: by its name, else the recipe's `other`, else by its kind."""
        values = self.recipes[self.recipe][what]
        return int(values.get(task.name) or values.get("other") or BY_KIND[task.kind][what])

    def _adapter(self, lm: LM, task: Task) -> StackedAdapters:
        from bench.lm.multi_lora import StackedAdapters
        from bench.lm.tune import Tuning, module_names

        epochs, batch = self._steps(task, "epochs"), self._steps(task, "batch")
        values = dict(self.kinds[self.peft])
        tokens = int(values.pop("virtual_tokens", 0))
        targets = module_names(lm, values.pop("targets", ()))
        return StackedAdapters(
            self.peft,
            Tuning(**values, targets=targets, epochs=epochs, batch=batch),
            virtual_tokens=tokens,
        )


def _fits(lm: LM, pair: Example, adapter: StackedAdapters) -> bool:
    """Whether the item can be asked: a question is never cut,
    so one that is longer than the model reads cannot.
    """
    from bench.lm.bank import encoded

    try:
        encoded(lm, pair, adapter)
    except InputError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Lesson:
    """How many items of a user are learnt, and how many are longer than the model reads."""

    learnt: int
    too_long: int


def _question(task: Task, user: User, item: Item, place: int) -> Query:
    """A history item as a question, without its answer. Like a question's text it has no white
    space at its ends.
    """
    text = item.fields[task.source].strip()
    asked = task.input_template.replace("{" + task.source + "}", text)
    return Query(f"{user.id}/{place}", asked, text, date=item.date)


def _summary(task: Task, learnt: Sequence[Item]) -> list[str]:
    """What has been learnt of a user, for the reader: the newest items, shortened."""
    return [task.item_text(shortened(item, NOTED_WORDS)) for item in learnt[-NOTED_ITEMS:]]


def _own_seed(seed: int, user: str) -> int:
    import hashlib

    return int(hashlib.sha256(f"oppu/{seed}/{user}".encode()).hexdigest()[:8], 16)
