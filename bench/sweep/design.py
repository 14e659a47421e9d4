"""What an experiment is made of: arms and axes become the overrides of its cells (conf/experiment,
conf/scale).

Knows no Hydra: an override is text, `key=value`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from bench.errors import InputError

PLACES = ("results.root", "progress", "dry", "data.root")
"""Settings that say where and how a cell runs, not what it is: they tell no two cells of an
experiment apart.
"""
REPEAT = "repeat"
"""The axis of a method's repeats, which stand in one row."""


def repeat_of(at: Mapping[str, Any]) -> str:
    """Which repeat of a method stands at a place."""
    return str(at.get(REPEAT, 0))


@dataclass(frozen=True)
class Argument:
    """What the command line says of a key, one value or a sweep:
    it narrows an axis, or goes to every cell.
    """

    key: str
    values: tuple[Any, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class PlannedCell:
    """One cell of an experiment. `at`: its place on the axes; `words`: all its overrides; `extra`:
    what the command line added to every cell, without PLACES; `own`: the keys that are not the same
    throughout the experiment by its own file or the scale's.
    """

    arm: str
    at: Mapping[str, Any]
    words: tuple[str, ...]
    extra: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Arm and place in a few words."""
        return " ".join(
            [self.arm, *(f"{axis.rpartition('.')[2]}={value}" for axis, value in self.at.items())]
        )

    @property
    def hash(self) -> str:
        """8 hex digits over the place and the extra overrides."""
        parts = json.dumps([dict(self.at), sorted(self.extra)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:8]


def key_of(word: str) -> str:
    """The key of an override: `model` of `model=tiny`, `model.source` of `+model.source=x`."""
    return word.partition("=")[0].lstrip("+~")


def merged(words: Iterable[str]) -> tuple[str, ...]:
    """One override for each key: the last. A group and a field of it are different keys."""
    kept: dict[str, str] = {}
    for word in words:
        kept.pop(key_of(word), None)
        kept[key_of(word)] = word
    return tuple(kept.values())


def _of_scale(scale: Mapping[str, Any], family: str, method: str) -> list[str]:
    """What a scale says of all cells, of a family, of a method."""
    parts = (
        scale.get("common"),
        (scale.get("families") or {}).get(family),
        (scale.get("methods") or {}).get(method),
    )
    return [word for part in parts for word in part or ()]


@dataclass(frozen=True)
class Design:
    """An experiment at a scale, with what the command line gave: all that its cells are made of.

    `rules`: the trivial rules by kind of task, where the experiment has them as arms; `kind_of`:
    the kind of task of a cell's overrides; `text`: a value as the command line writes it.
    """

    experiment: Mapping[str, Any]
    scale: Mapping[str, Any]
    given: Sequence[Argument]
    rules: Mapping[str, Sequence[str]]
    kind_of: Callable[[Sequence[str]], str]
    text: Callable[[Any], str] = str

    def cells(self) -> list[PlannedCell]:
        """Every arm at every place on the axes, the arms of a place one after the other.

        Raises InputError on an arm that is not there, and on a value that an arm does not know.
        """
        axes, arms, wanted = self.axes(), dict(self.experiment.get("arms") or {}), self._wanted()
        last = [word for one in self.given if one.key not in axes for word in one.words]
        extra = tuple(word for word in last if key_of(word) not in PLACES)
        planned: dict[tuple[Any, ...], PlannedCell] = {}
        for values in product(*axes.values()):
            at = dict(zip(axes, values, strict=True))
            for arm, entries in {**arms, **self._rules([*self._words(at), *last])}.items():
                if arm not in wanted:
                    continue
                own, place = self._arm(entries, at)
                if any(place[one.key] not in one.values for one in self.given if one.key in axes):
                    continue  # the command line narrowed an axis on which this arm stands elsewhere
                placed = [*self._words(place), *own, *last]
                words, keys = self._in_order(placed), tuple(dict.fromkeys(map(key_of, placed)))
                if not place.get(REPEAT):  # the first repeat is the cell without any
                    place = {axis: value for axis, value in place.items() if axis != REPEAT}
                planned.setdefault(
                    (words, json.dumps(place)), PlannedCell(arm, place, words, extra, keys)
                )
        return list(planned.values())

    def places(self) -> list[tuple[str, ...]]:
        """The overrides of every place, for an experiment without arms: it counts its data."""
        axes, last = (
            self.axes(),
            [word for one in self.given if one.key not in self.axes() for word in one.words],
        )
        found = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
        return (
            []
            if self.experiment.get("arms")
            else [self._in_order([*self._words(at), *last]) for at in found]
        )

    def axes(self, *, whole: bool = False) -> dict[str, list[Any]]:
        """The experiment's axes, each with the scale's values where it has some; narrowed by the
        command line, whose sweeps of other keys are new axes, unless `whole`.
        """
        axes = {name: list(values) for name, values in (self.experiment.get("axes") or {}).items()}
        for one in self._scales:
            axes |= {
                name: list(values)
                for name, values in (one.get("axes") or {}).items()
                if name in axes
            }
        if not whole:
            axes |= {
                one.key: list(one.values)
                for one in self.given
                if one.key in (*axes, REPEAT) or len(one.values) > 1
            }
        return axes

    @property
    def _scales(self) -> list[Mapping[str, Any]]:
        """The scale, and what the experiment itself says of it."""
        return [self.scale, (self.experiment.get("scales") or {}).get(self.scale["name"]) or {}]

    def _in_order(self, placed: Sequence[str]) -> tuple[str, ...]:
        """One override per key, the last of the experiment's; the scale's for all, its family and
        the method; what the experiment says of the scale; the cell's.
        """
        common, family = self.experiment.get("common") or (), self.experiment["family"]
        method = next(
            (word for word in reversed([*common, *placed]) if key_of(word) == "method"), ""
        )
        scaled = [
            word
            for one in self._scales
            for word in _of_scale(one, family, method.partition("=")[2])
        ]
        return merged([*common, *scaled, *placed])

    def _words(self, at: Mapping[str, Any]) -> list[str]:
        return [f"{axis}={self.text(value)}" for axis, value in at.items()]

    def _wanted(self) -> set[str]:
        known = list(self.experiment.get("arms") or {})
        if self.experiment.get("rules"):
            some = {rule for kind in self.rules for rule in self._rules_of(kind)}
            known += [f"majority_{rule}" for rule in sorted(some)]
        only = self.experiment.get("only") or next(
            (one["only"] for one in self._scales if one.get("only")), None
        )
        for arm in only or ():
            if arm not in known:
                raise InputError(
                    f"experiment.only={arm}: {self.experiment['name']} has {', '.join(known)}"
                )
        return set(known if only is None else only)

    def _rules(self, placed: Sequence[str]) -> dict[str, list[str]]:
        """The trivial rules of this kind of task, as arms."""
        if not self.experiment.get("rules"):
            return {}
        kind = self.kind_of(self._in_order(placed))
        return {
            f"majority_{rule}": ["method=majority", f"method.rule={rule}"]
            for rule in self._rules_of(kind)
        }

    def _rules_of(self, kind: str) -> list[str]:
        """All rules of a kind of task, or those of them that the experiment names."""
        chosen = self.experiment["rules"]
        return [rule for rule in self.rules[kind] if chosen is True or rule in chosen]

    def _arm(self, entries: Sequence[Any], at: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """An arm's overrides at a place, and the place as this arm has it.

        An entry `key: {axis: [values]}` gives the key one value for each of the axis', by position.
        An arm that sets an axis itself stands at its own value there, unless one of its entries
        goes along with the axis.
        """
        words = [entry if isinstance(entry, str) else self._along(entry, at) for entry in entries]
        moving = {
            axis for entry in entries if not isinstance(entry, str) for [axis] in entry.values()
        }
        fixed = {key_of(word): yaml.safe_load(word.partition("=")[2]) for word in words}
        return words, at | {
            axis: value for axis, value in fixed.items() if axis in at and axis not in moving
        }

    def _along(
        self, entry: Mapping[str, Mapping[str, Sequence[Any]]], at: Mapping[str, Any]
    ) -> str:
        [(key, by_axis)] = entry.items()
        [(axis, values)] = by_axis.items()
        places = self.axes(whole=True)[axis]
        if at[axis] not in places[: len(values)]:
            raise InputError(
                f"{axis}={at[axis]}: {key} goes along with it, which is given for"
                f" {places[: len(values)]}"
            )
        return f"{key}={self.text(values[places.index(at[axis])])}"
