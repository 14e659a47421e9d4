"""Take a cell's patches out of the harness as PEFT adapter folders.

python -m bench.export CELL [--user U] OUT

  CELL      a cell's folder, with record.json and artifacts/ (results/runs/TASK/METHOD/KEY)
  OUT       a folder that is not there yet, or is empty
  --user U  only the adapter of this user (all users' ids: samples.jsonl of the cell)

Writes OUT/adapters/ID (one for each different adapter), OUT/users.json (which user has which), OUT/base (where the
cell's model was adapted to the task first) and OUT/README.md (how to load them, and how a prompt is rendered).
Exit codes: 0 done, 1 the disk refused, 2 bad input. More: docs/export.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from bench import store
from bench.data.task import Task
from bench.env import cache_folder
from bench.lm import base as bases
from bench.lm.spec import ModelSpec
from bench.types import InputError, Item, Personalization, Query, User

if TYPE_CHECKING:
    from bench.lm.adapters import TaskType
    from bench.lm.patch import Patch

_SHOWN = 5
"""Ids that an error names."""


@dataclass(frozen=True)
class Cell:
    """A finished cell as its files tell it. `folder`: where it lies; `config`: the resolved configuration."""

    folder: Path
    record: Mapping[str, Any]
    config: Mapping[str, Any]

    @staticmethod
    def read(folder: Path) -> Cell:
        """Raises InputError where there is no finished cell."""
        for name in ("record.json", "config.yaml"):
            if not (folder / name).is_file():
                raise InputError(f"{folder}: no {name}, so this is no cell's folder (results/runs/TASK/METHOD/KEY)")
        record = store.read_json(folder / "record.json")
        if record["status"] != "ok":
            raise InputError(f"{folder}: the cell's status is {record['status']} ({record['error']}); run it again")
        return Cell(folder, record, store.read_json(folder / "config.yaml"))

    @property
    def name(self) -> str:
        return f"{self.record['cell']['method']} on {self.record['cell']['task']}"


@dataclass(frozen=True)
class Base:
    """The model that the adapters belong to. `source`: a hub id or folder; `patch`: merged into it first, if any."""

    spec: ModelSpec
    tokenizer: Any
    seq2seq: bool
    patch: Patch | None

    @property
    def source(self) -> str:
        return self.spec.hub or self.spec.source

    @property
    def task_type(self) -> TaskType:
        return "SEQ_2_SEQ_LM" if self.seq2seq else "CAUSAL_LM"

    @property
    def chat(self) -> bool:
        return self.spec.chat and not self.seq2seq and bool(self.tokenizer.chat_template)


def export(folder: Path, out: Path, *, user: str | None = None, say: Callable[[str], None] = print) -> None:
    """Write the adapters of a cell, or of one of its users. Raises InputError on bad input, StoreError by the disk."""
    from bench.lm.adapters import kind_of, to_peft

    cell = Cell.read(folder)
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; give a folder that is not there yet")
    personals = _personals(cell, user)
    owners = {name: _patch(one) for name, one in personals.items()}
    adapters = {patch.id: patch for patch in owners.values() if patch is not None}
    if not adapters:
        whose = f"user {user}" if user is not None else "the cell"
        raise InputError(f"{folder}: {whose} has no patch ({cell.name} changed no weights): nothing to export")
    kinds = {id: kind_of(patch) for id, patch in adapters.items()}
    base = _base(cell)
    for id, patch in adapters.items():
        to_peft(patch, out / "adapters" / id, model=base.source, task_type=base.task_type)
        users = sum(own is not None and own.id == id for own in owners.values())
        say(f"adapters/{id}: {kinds[id]}, {patch.bytes:,} bytes at two a number, users: {users} of {len(owners)}")
    if base.patch is not None:
        to_peft(base.patch, out / "base", model=base.source, task_type=base.task_type)
        say("base: LoRA, the adaption to the task; merge it before the others")
    store.write_json(out / "users.json", {name: None if patch is None else patch.id for name, patch in owners.items()})
    (out / "README.md").write_text(readme(cell, base, _fullest(personals.values()), kinds), encoding="utf-8")
    say(f"README.md: how to load {'it' if len(adapters) == 1 else 'them'}, prompt, decoding  ({out})")


def _personals(cell: Cell, user: str | None) -> dict[str, Personalization]:
    """The personalizations asked for, by user."""
    from bench.lm.kept import load_users

    found = load_users(cell.folder / "artifacts")
    if user is None:
        return found
    if user not in found:
        some = ", ".join(list(found)[:_SHOWN])
        raise InputError(
            f"{cell.folder}: no user {user!r}; it has {len(found)} users ({some}{', ...' * (len(found) > _SHOWN)})"
        )
    return {user: found[user]}


def _fullest(personals: Iterable[Personalization]) -> Personalization:
    """Of those who have a patch, one whose prompt shows the most: with words of their own, and the most items."""
    return max(personals, key=lambda one: (bool(one.patches), bool(one.text), len(one.items or ())))


def _patch(personal: Personalization) -> Patch | None:
    """All of a user's patches as one."""
    from bench.lm.adapters import joined

    return joined(personal.patches) if personal.patches else None


def _base(cell: Cell) -> Base:
    """The model's tokenizer and the patch of its task-adapted base, which is found by its fingerprint."""
    from bench.lm.load import reader
    from bench.lm.patch import Patch

    spec: ModelSpec = _made(cell.config["model"])
    tokenizer, seq2seq = reader(spec)
    mark = cell.record["model"]["base"]
    if mark == "instruct":
        return Base(spec, tokenizer, seq2seq, None)
    for place in (bases.SHIPPED, cache_folder() / "bases"):
        for path in sorted(place.glob("*.safetensors")):
            if bases.fingerprint(path) == mark:
                return Base(spec, tokenizer, seq2seq, Patch.load(path))
    raise InputError(f"{cell.folder}: the cell's task-adapted base ({mark}) is not on this machine; run the cell again")


def _made(config: Mapping[str, Any]) -> Any:
    from hydra.utils import instantiate

    return instantiate(dict(config), _convert_="all")


def example(cell: Cell, base: Base, personal: Personalization) -> str:
    """A prompt as the model reads it, with `<names>` in place of all that is a user's."""
    from bench.lm.render import rendered

    task: Task = _made(cell.config["task"])
    method = _made(cell.config["method"])
    bare = cell.config["protocol"]["history"] == "none"
    items = () if bare else tuple(
        Item(str(number), {name: f"<{name} {number}>" for name in task.fields}) for number in (1, 2)
    )  # fmt: skip
    slots = {name: f"<{name}>" for _, name, _, _ in Formatter().parse(task.input_template) if name}
    asked = task.input_template.format(**slots)
    query = Query("1", asked, task.query_text(asked))
    made = Personalization(
        text={name: f"<{name}>" for name in personal.text if not name.startswith("items/")},
        items=None if personal.items is None else items[: len(personal.items)],
    )
    request = method.request(task, User("1", items, (query,)), query, made)
    return rendered(request.messages, base.tokenizer, chat=base.chat)


def readme(cell: Cell, base: Base, personal: Personalization, kinds: Mapping[str, str]) -> str:
    """How the adapters are used outside of the harness."""
    what, model = cell.record["cell"], cell.record["model"]
    loader = "AutoModelForSeq2SeqLM" if base.seq2seq else "AutoModelForCausalLM"
    adapted = "" if base.patch is None else 'model = PeftModel.from_pretrained(model, "base").merge_and_unload()\n'
    first = next(iter(kinds))
    rows = "\n".join(f"| `adapters/{id}` | {kind} |" for id, kind in kinds.items())
    return f"""# Adapters of {cell.name}

From a Lamplight cell: method {what["method"]}, task {what["task"]}, model {what["model"]} ({model["weights"]}), base
{what["base"]}, protocol {what["protocol"]}, seed {what["seed"]}, key {cell.record["key"]}.

| folder | kind |
|---|---|
{rows}

`users.json` says which user has which adapter (null: none, the base answers). Adapters learn from a user's texts: treat
them, and that file, as personal data.

## Load

```python
from peft import PeftModel
from transformers import AutoTokenizer, {loader}

tokenizer = AutoTokenizer.from_pretrained("{base.source}")
model = {loader}.from_pretrained("{base.source}", dtype="{model["dtype"]}")
{adapted}model = PeftModel.from_pretrained(model, "adapters/{first}").eval()
```

{_BASE if base.patch is not None else "The adapters belong to the model as it is."}{_copy(base.spec, model["weights"])}

## Prompt

{_CHAT if base.chat else _PLAIN} At most {model["max_prompt_tokens"]} tokens, of which history lines share
{model["history_tokens"]}: long lines are shortened, and the question never is. With names in place of a user's texts
(as many history lines as the method selects):

```
{example(cell, base, personal)}
```

## Answer

{_decoding(cell)}
"""


_BASE = """`base/` adapts the model to the task. The adapters were made on top of it: merge it first, as above. It is a
LoRA of its own so that the adapters stay as small, and of the kind, as the method made them."""
_CHAT = """One user turn through the tokenizer's chat template, with `add_generation_prompt=True`; the text is tokenized
with `add_special_tokens=False`, after one beginning-of-text token if the model has one and the template sets none."""
_PLAIN = "Plain text without trailing space, tokenized with the tokenizer's own special tokens."


def _copy(spec: ModelSpec, weights: str) -> str:
    """What to know where the cell read a quantized copy of the model, carried by a Python package."""
    kind, _, package = spec.source.partition(":")
    if kind != "package" or weights.startswith("hub:"):
        return ""
    return (
        f"\n\nThe cell read a quantized copy of that model, from the package {weights}: on the original's weights "
        "logits differ\na little. Its folder, for `from_pretrained`:\n"
        f"`python -c \"from bench.lm.load import unpacked; print(unpacked('{package}'))\"`"
    )


def _decoding(cell: Cell) -> str:
    """Decoding and stop rule in words."""
    how, tokens = cell.config["decoding"], cell.config["task"]["max_new_tokens"]
    if how["rule"] == "likelihood":
        labels = ", ".join(cell.config["task"]["labels"])
        return f"The answer is the label of the highest total log-probability, end token included, of: {labels}."
    drawn = f"sampled (temperature {how['temperature']}, top-p {how['top_p']}, top-k {how['top_k']})"
    rule = "greedy" if how["rule"] == "greedy" else drawn
    label = " or as soon as it is a label that no longer label begins with," if how["stop_at_label"] else ""
    return (
        f"Decoding is {rule}, at most {tokens} new tokens. An answer ends at the end token,{label} or at the first\n"
        "line break behind its first word; it is the first line, without space around it."
    )


def main(arguments: Sequence[str]) -> int:
    """The command line. The exit code."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(str(__doc__).strip())
        return 0 if arguments else 2
    parser = argparse.ArgumentParser(prog="python -m bench.export", add_help=False)
    parser.add_argument("cell", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--user")
    given = parser.parse_args(arguments)
    try:
        export(given.cell, given.out, user=given.user)
    except InputError as error:
        return _failed(str(error), 2)
    except store.StoreError as error:
        return _failed(str(error), 1)
    except OSError as error:
        return _failed(f"cannot write {error.filename or given.out}: {error.strerror or error}", 1)
    return 0


def _failed(problem: str, code: int) -> int:
    print(f"bench.export: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
