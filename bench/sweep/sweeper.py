"""Sweeps, and `experiment=NAME`: a sweeper that hands every cell to Hydra's launcher, whichever it
is.
"""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.disk.files import StoreError, writing
from bench.errors import InputError
from bench.sweep import launch
from bench.sweep.design import Design, Given, Planned, key_of
from bench.sweep.overrides import expanded

OURS = ("experiment", "scale")
RUNS = "results/runs"  # where a report looks by itself


class Experiments(BasicSweeper):
    """Hydra's basic sweeper, and experiments (hydra_plugins/lamplight.py makes it known to
    Hydra)."""

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the cells of a sweep or of the experiments named; of these, with `dry=true` only
        list them.

        Raises InputError on bad input, StoreError where a worker or the disk ends the sweep, both
        with one line.
        """
        assert (
            self.hydra_context is not None and self.config is not None and self.launcher is not None
        )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides(arguments)
        _refuse_empty(overrides)
        if not any(override.key_or_group == "experiment" for override in overrides):
            names, jobs = _plain_sweep(overrides)
            self._check_shared([word for job in jobs for word in job], jobs)
            return self._launched(names, [expanded(job) for job in jobs])
        designs = self._designs(overrides)
        planned = [
            (name, scale, cell) for name, scale, design in designs for cell in design.cells()
        ]
        jobs = [expanded([*cell.words, *_told(cell, name, scale)]) for name, scale, cell in planned]
        self._check_shared([word for one in map(_given, overrides) for word in one.words], jobs)
        if self.config.dry:
            self._forecast(planned, jobs)
            return []
        self._check(jobs)
        self._count(designs)
        returns = self._launched([cell.name for _, _, cell in planned], jobs)
        for name, scale in dict.fromkeys((name, scale) for name, scale, _ in designs):
            root = str(self.config.results.root)
            place = "" if root == RUNS else f" --results {shlex.quote(root)}"
            print(
                f"its tables and figures: python -m bench.report {name} --scale {scale}{place}",
                file=sys.stderr,
            )
        return returns

    def _launched(self, names: list[str], jobs: list[list[str]]) -> list[Sequence[Any]]:
        """The results of all jobs, batch by batch."""
        assert (
            self.hydra_context is not None and self.config is not None and self.launcher is not None
        )
        if not self.config.dry:
            _make_root(Path(self.config.results.root))
        with writing(Path(self.config.hydra.sweep.dir)):
            Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        for callback in self.hydra_context.callbacks.callbacks:
            if isinstance(callback, launch.Jobs):
                callback.names = names
        returns: list[Sequence[Any]] = []
        for batch in self.split_overrides_to_chunks(jobs, self.max_batch_size) if jobs else ():
            self.validate_batch_is_legal(batch)
            first = sum(map(len, returns))
            try:
                results = self.launcher.launch(batch, initial_job_idx=first)
            except (HydraException, OmegaConfBaseException, InputError):
                raise
            except Exception as error:  # a worker died, and the launcher gives no results back
                raise StoreError(_undone(names, error)) from error
            launch.note(results, first)
            _ = [result.return_value for result in results]  # raises where a job did
            returns.append(results)
        return returns

    def _designs(self, overrides: Sequence[Override]) -> list[tuple[str, str, Design]]:
        """Each experiment and scale on the command line."""
        about = [
            override
            for override in overrides
            if key_of(override.get_key_element()).partition(".")[0] in OURS
        ]
        given = [_given(override) for override in overrides if override not in about]
        chosen = {one.key: one for one in map(_given, about)}
        changes = [word for one in chosen.values() if one.key not in OURS for word in one.words]
        designs = []
        for name in chosen["experiment"].values:
            for scale in chosen["scale"].values if "scale" in chosen else (None,):
                words = [f"experiment={name}", *([f"scale={scale}"] if scale else []), *changes]
                config = self._composed(words)
                if not OmegaConf.is_dict(config.experiment):
                    raise InputError(
                        "experiment=: name one, as in experiment=chameleon_table1 (see --help)"
                    )
                experiment, of_scale, rules = (
                    _plain(config[part]) for part in ("experiment", "scale", "rules")
                )
                design = Design(experiment, of_scale, given, rules, self._kind_of, Transformer.str)
                if experiment["arms"] and not design.cells():
                    raise InputError(
                        f"experiment={name}: no arm stands where the command line put it; take"
                        " words away"
                    )
                what = (
                    f"{len(design.cells())} cells"
                    if experiment["arms"]
                    else "counts its data, runs no cell"
                )
                print(f"{name} at scale {of_scale['name']}: {what}", file=sys.stderr)
                designs.append((str(name), str(of_scale["name"]), design))
        return designs

    def _composed(self, words: Iterable[str]) -> DictConfig:
        assert self.hydra_context is not None and self.config is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(words))

    def _kind_of(self, words: Sequence[str]) -> str:
        """The kind of the task that a cell's overrides name."""
        return str(self._composed(word for word in words if key_of(word) == "task").task.kind)

    def _check_shared(self, given: Sequence[str], jobs: Sequence[Sequence[str]]) -> None:
        """Raises InputError where a setting that is given has an effect in none of the cells."""
        from bench.cell.settings import check_shared

        # composing takes its time
        if any("." in word.partition("=")[0] or word.startswith("+") for word in given):
            check_shared(given, [self._composed(expanded(job)) for job in jobs])

    def _check(self, jobs: Sequence[Sequence[str]]) -> None:
        """Every cell composes, and the data of the first is there: before anything runs."""
        from bench.cell.plan import data_root
        from bench.cell.settings import section

        self.validate_batch_is_legal(jobs)
        if jobs:
            data_root(section(self._composed(jobs[0]), "data"))

    def _count(self, designs: Iterable[tuple[str, str, Design]]) -> None:
        """The statistics of each place of an experiment without arms."""
        from bench import statistics

        for name, scale, design in designs:
            for words in design.places():
                statistics.count(
                    self._composed([f"experiment={name}", f"scale={scale}", *words]), scale
                )

    def _forecast(
        self, planned: Sequence[tuple[str, str, Planned]], jobs: Sequence[Sequence[str]]
    ) -> None:
        from bench.sweep import forecast

        forecast.show([cell.name for _, _, cell in planned], map(self._composed, jobs))


def _refuse_empty(overrides: Iterable[Override]) -> None:
    """Raises InputError where a sweep has no values, so that nothing would run."""
    for one in overrides:
        if (
            one.is_sweep_override()
            and one.is_discrete_sweep()
            and not list(one.sweep_string_iterator())
        ):
            raise InputError(
                f"{one.input_line}: no value fits, so there is nothing to run; --help lists them"
            )


def _make_root(root: Path) -> None:
    """The folder of results. InputError where it neither is there nor can be made; StoreError on a
    full disk.
    """
    try:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
    except StoreError as error:
        full = isinstance(error.__cause__, OSError) and error.__cause__.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        )
        raise error if full else InputError(str(error)) from None


def _plain_sweep(overrides: Sequence[Override]) -> tuple[list[str], list[list[str]]]:
    """Of every cell of a sweep without an experiment: a name, the words that vary, and all its
    words.
    """
    given = {one.key: one for one in map(_given, overrides)}.values()
    jobs = [list(words) for words in product(*(one.words for one in given))]
    varying = [len(one.words) > 1 for one in given]
    names = [
        " ".join(word for word, varies in zip(job, varying, strict=True) if varies) for job in jobs
    ]
    return [name or " ".join(job) for name, job in zip(names, jobs, strict=True)], jobs


def _undone(names: Sequence[str], error: Exception) -> str:
    """Which cells have not ended, and why, in a line."""
    ended = launch.codes()
    left = [
        f"cell {number + 1} ({name})" for number, name in enumerate(names) if number not in ended
    ]
    why = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return (
        f"{len(left)} of {len(names)} cells are not done: {', '.join(left)}; a worker ended before"
        f" its cell did, most often for want of memory ({why.strip()}); the same command goes on"
        " from here"
    )


def _given(override: Override) -> Given:
    """A sweep of the command line is several values, all else is one."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        value = None if override.is_delete() else override.value()
        word = key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
        return Given(key_of(key), (value,), (word,))
    if not override.is_discrete_sweep():
        raise InputError(
            f"{override.input_line}: give the values one by one, as in {key_of(key)}=1,2"
        )
    values = [
        value.text if isinstance(value, QuotedString) else value
        for value in override.sweep_iterator()
    ]
    return Given(
        key_of(key),
        tuple(values),
        tuple(f"{key}={text}" for text in override.sweep_string_iterator()),
    )


def _told(cell: Planned, name: str, scale: str) -> list[str]:
    """What a cell is told of its experiment, for its manifest (bench/disk/manifest.py)."""
    said = {"name": name, "scale": scale, "arm": cell.arm, "at": cell.at, "hash": cell.hash}
    said |= {"extra": cell.extra, "own": cell.own}
    return [f"scale={scale}", f"experiment={Transformer.str(_quoted(said))}"]


def _quoted(value: Any) -> Any:
    """The value with its texts in quotes, as a dictionary on Hydra's command line needs them."""
    if isinstance(value, Mapping):
        return {name: _quoted(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(one) for one in value]
    return QuotedString(value, Quote.single) if isinstance(value, str) else value


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True)
