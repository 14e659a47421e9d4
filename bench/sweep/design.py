"""What an experiment is made of: arms and axes become the overrides of its cells (conf/experiment,
conf/scale).

Knows no Hydra: an override is text, `key=value`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
        place = [f"{axis.rpartition('.')[2]}={value}" for axis, value in self.at.items()]
        return " ".join([self.arm, *place])

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
    families = scale.get("families") or {}
    methods = scale.get("methods") or {}
    words: list[str] = []
    for part in (scale.get("common"), families.get(family), methods.get(method)):
        words += part or ()
    return words


@dataclass(frozen=True)
class _ArmHere:
    """An arm at a place on the axes. `words`: its own overrides; `at`: the place as this arm has
    it.
    """

    words: list[str]
    at: dict[str, Any]


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
        wanted = self._wanted()
        last = self._given_to_all()
        extra = tuple(word for word in last if key_of(word) not in PLACES)
        planned: dict[tuple[Any, ...], PlannedCell] = {}
        for at in self._places():
            arms = dict(self.experiment.get("arms") or {})
            arms |= self._rules([*self._words(at), *last])
            for arm, entries in arms.items():
                if arm not in wanted:
                    continue
                here = self._arm(entries, at)
                if not self._is_asked(here.at):
                    continue
                placed = [*self._words(here.at), *here.words, *last]
                words = self._in_order(placed)
                own = tuple(dict.fromkeys(map(key_of, placed)))
                place = _without_first_repeat(here.at)
                cell = PlannedCell(arm, place, words, extra, own)
                planned.setdefault((words, json.dumps(place)), cell)
        return list(planned.values())

    def places(self) -> list[tuple[str, ...]]:
        """The overrides of every place of an experiment without arms, which counts its data."""
        if self.experiment.get("arms"):
            return []
        last = self._given_to_all()
        return [self._in_order([*self._words(at), *last]) for at in self._places()]

    def axes(self, *, whole: bool = False) -> dict[str, list[Any]]:
        """The experiment's axes, each with the scale's values where it has some; narrowed by the
        command line, whose sweeps of other keys are new axes, unless `whole`.
        """
        axes = {}
        for name, values in (self.experiment.get("axes") or {}).items():
            axes[name] = list(values)
        for scale in self._scales:
            for name, values in (scale.get("axes") or {}).items():
                if name in axes:
                    axes[name] = list(values)
        if whole:
            return axes

        known = {*axes, REPEAT}
        for argument in self.given:
            if argument.key in known or len(argument.values) > 1:
                axes[argument.key] = list(argument.values)
        return axes

    def _places(self) -> Iterator[dict[str, Any]]:
        """Each place: a value for every axis."""
        axes = self.axes()
        for values in product(*axes.values()):
            yield dict(zip(axes, values, strict=True))

    def _given_to_all(self) -> list[str]:
        """The words of the command line that go to every cell, as they are of no axis."""
        axes = self.axes()
        words: list[str] = []
        for argument in self.given:
            if argument.key not in axes:
                words += argument.words
        return words

    def _is_asked(self, at: Mapping[str, Any]) -> bool:
        """Whether the command line has not narrowed an axis to values on which this is not."""
        for argument in self.given:
            if argument.key in at and at[argument.key] not in argument.values:
                return False
        return True

    @property
    def _scales(self) -> list[Mapping[str, Any]]:
        """The scale, and what the experiment itself says of it."""
        own = (self.experiment.get("scales") or {}).get(self.scale["name"])
        return [self.scale, own or {}]

    def _in_order(self, placed: Sequence[str]) -> tuple[str, ...]:
        """One override per key, the last of the experiment's; the scale's for all, its family and
        the method; what the experiment says of the scale; the cell's.
        """
        common = self.experiment.get("common") or ()
        method = ""
        for word in (*common, *placed):
            if key_of(word) == "method":
                method = word.partition("=")[2]

        scaled: list[str] = []
        for scale in self._scales:
            scaled += _of_scale(scale, self.experiment["family"], method)
        return merged([*common, *scaled, *placed])

    def _words(self, at: Mapping[str, Any]) -> list[str]:
        return [f"{axis}={self.text(value)}" for axis, value in at.items()]

    def _wanted(self) -> set[str]:
        """The arms that are to run."""
        known = list(self.experiment.get("arms") or {})
        if self.experiment.get("rules"):
            rules: set[str] = set()
            for kind in self.rules:
                rules.update(self._rules_of(kind))
            known += [f"majority_{rule}" for rule in sorted(rules)]

        only = self._only()
        for arm in only or ():
            if arm not in known:
                raise InputError(
                    f"experiment.only={arm}: {self.experiment['name']} has {', '.join(known)}"
                )
        return set(known if only is None else only)

    def _only(self) -> list[str] | None:
        """The arms that the experiment or a scale is limited to; None for all."""
        for part in (self.experiment, *self._scales):
            if only := part.get("only"):
                return list(only)
        return None

    def _rules(self, placed: Sequence[str]) -> dict[str, list[str]]:
        """The trivial rules of this kind of task, as arms."""
        arms: dict[str, list[str]] = {}
        if self.experiment.get("rules"):
            for rule in self._rules_of(self.kind_of(self._in_order(placed))):
                arms[f"majority_{rule}"] = ["method=majority", f"method.rule={rule}"]
        return arms

    def _rules_of(self, kind: str) -> list[str]:
        """All rules of a kind of task, or those of them that the experiment names."""
        named = self.experiment["rules"]
        return [rule for rule in self.rules[kind] if named is True or rule in named]

    def _arm(self, entries: Sequence[Any], at: Mapping[str, Any]) -> _ArmHere:
        """An arm at a place.

        An entry `key: {axis: [values]}` gives the key one value for each of the axis', by position.
        An arm that sets an axis itself stands at its own value there, unless one of its entries
        goes along with the axis.
        """
        words = []
        moving: set[str] = set()
        for entry in entries:
            if isinstance(entry, str):
                words.append(entry)
            else:
                words.append(self._along(entry, at))
                for by_axis in entry.values():
                    moving.update(by_axis)

        here = dict(at)
        for word in words:
            axis = key_of(word)
            if axis in at and axis not in moving:
                here[axis] = yaml.safe_load(word.partition("=")[2])
        return _ArmHere(words, here)

    def _along(
        self, entry: Mapping[str, Mapping[str, Sequence[Any]]], at: Mapping[str, Any]
    ) -> str:
        [(key, by_axis)] = entry.items()
        [(axis, values)] = by_axis.items()
        known = self.axes(whole=True)[axis][: len(values)]
        if at[axis] not in known:
            raise InputError(
                f"{axis}={at[axis]}: {key} goes along with it, which is given for {known}"
            )
        return f"{key}={self.text(values[known.index(at[axis])])}"


def _without_first_repeat(at: Mapping[str, Any]) -> dict[str, Any]:
    """The place, in which the first repeat is the cell without any."""
    place = dict(at)
    if not place.get(REPEAT):
        place.pop(REPEAT, None)
    return place
