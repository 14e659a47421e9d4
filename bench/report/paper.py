"""The numbers that the papers print (`bench/assets/paper_tables.yaml`),
under the names that our records use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import InputError

PATH = Path(__file__).parents[1] / "assets" / "paper_tables.yaml"

OURS: Mapping[str, str] = {
    "acc": "accuracy",
    "LaMP-2M": "lamp2",
    **{f"LaMP-{number}": f"lamp{number.lower()}" for number in ("1", "2N", "3", "4", "5", "7")},
    "mistral_7b_instruct_v0.3": "mistral",
    "meta-llama/Llama-2-7b-hf": "llama2",
}
"""The file's names of metrics, tasks and models, where ours are others."""

MODELS = ("mistral", "flan_t5_xxl", "llama2")
OPPU_MODEL = "llama2"  # of every OPPU table (section 4)


@dataclass(frozen=True, slots=True)
class Printed:
    """A number as printed. `where`: all names under which it stands, in ours: task, metric, column,
    group of rows.

    `star`: OPPU's mark of significance; the text that we hold does not say by which test.
    """

    value: float
    model: str
    where: frozenset[str]
    star: bool = False


def table(path: str | None) -> tuple[Printed, ...]:
    """All numbers of one printed table, such as `chameleon.table1_users_with_history`; none for
    None.

    Raises InputError where the file has no such table.
    """
    if path is None:
        return ()
    printed: Any = _file()
    for name in path.split("."):
        if not isinstance(printed, Mapping) or name not in printed:
            raise InputError(
                f"{PATH}: there is no {path}; an experiment's `paper:` names a table of this file,"
                " or null"
            )
        printed = printed[name]
    if not isinstance(printed, Mapping) or "values" not in printed:
        raise InputError(
            f"{PATH}: {path} prints no values; an experiment's `paper:` should then be null"
        )
    return tuple(_leaves(printed["values"], ()))


def find(numbers: Sequence[Printed], names: Collection[str]) -> dict[str, Printed]:
    """The number of each model that stands under these names alone
    (`names` may hold more than a number needs).
    """
    known = set(names)
    return {number.model: number for number in numbers if number.where <= known}


@cache
def _file() -> Any:
    import yaml

    # libyaml's loader is ten times as fast as the one in Python, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(PATH.read_text(encoding="utf-8"), loader)


def _leaves(values: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Printed]:
    for name, value in values.items():
        inside = (*names, OURS.get(name, name))
        if not isinstance(value, Mapping):
            yield _number(value, inside)
        elif "v" in value:
            yield _number(value["v"], inside, star=bool(value["sig"]))
        else:
            yield from _leaves(value, inside)


def _number(value: Any, names: Sequence[str], *, star: bool = False) -> Printed:
    models = [name for name in names if name in MODELS]
    model = models[0] if models else OPPU_MODEL
    return Printed(float(value), model, frozenset(names) - set(MODELS), star)
