"""Sweeps, and `experiment=NAME`: each cell becomes a job for Hydra's launcher, whichever it is.

The public interfaces of Hydra for sweepers and launchers are all that is used: joblib, Ray and
submitit stand behind them with their documented settings.
"""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.data import task_yaml
from bench.disk.files import StoreError, writing
from bench.errors import InputError
from bench.sweep import launch
from bench.sweep.arguments import SweepJob, argument, combinations, experiment_override
from bench.sweep.design import Argument, Design, PlannedCell, key_of
from bench.sweep.overrides import expanded
from bench.terminal import escape

CHOICES = ("experiment", "scale")
"""What says which experiment runs; all other words are for its cells."""
task_yaml.register()

RUNS = "results/runs"  # where a report looks by itself


@dataclass(frozen=True)
class NamedDesign:
    """An experiment at a scale."""

    name: str
    scale: str
    design: Design


class Experiments(Sweeper):
    """The cells of a sweep, or of experiments (hydra_plugins/lamplight.py makes it known to Hydra).

    `max_batch_size`: how many jobs the launcher is handed at once; None or -1: all.
    """

    config: DictConfig
    launcher: Launcher
    loader: ConfigLoader

    def __init__(self, max_batch_size: int | None = None) -> None:
        self.max_batch_size = max_batch_size

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's way to hand over the composed configuration and the function of a job."""
        size = self.max_batch_size
        if size == -1:
            self.max_batch_size = None
        elif size is not None and (type(size) is not int or size < 1):
            raise InputError(f"hydra.sweeper.max_batch_size={size}: give a number from 1, or null")
        self.config = config
        self.hydra_context = hydra_context
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the cells of a sweep or of the experiments named; of these, with `dry=true` only
        list them.

        Raises InputError on bad input, StoreError if a worker or the disk ends the sweep, both
        with one line.
        """
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(arguments)
        given = list(map(argument, overrides))
        for override in overrides:
            if override.key_or_group == "experiment":
                return self._run_experiments(given)

        jobs = combinations(given)
        self._check(given, jobs)
        return self._launch(jobs)

    def _run_experiments(self, given: Sequence[Argument]) -> list[Sequence[JobReturn]]:
        designs = self._designs(given)
        jobs = []
        for named in designs:
            for cell in named.design.cells():
                words = [*cell.words, *_membership(cell, named)]
                jobs.append(SweepJob(cell.name, tuple(words)))

        configs = self._check(given, jobs)
        if self.config.dry:
            from bench.sweep import forecast

            forecast.show([job.name for job in jobs], configs)
            return []

        self._need_data(configs)
        self._count_data(designs)
        returns = self._launch(jobs)

        root = str(self.config.results.root)
        place = "" if root == RUNS else f" --results {shlex.quote(root)}"
        for named in designs:
            report = f"python -m bench.report {named.name} --scale {named.scale}{place}"
            escape.say(f"its tables and figures: {report}", sys.stderr)
        return returns

    def _designs(self, given: Sequence[Argument]) -> list[NamedDesign]:
        """Each experiment and scale on the command line."""
        about = {}
        others = []
        for entry in given:
            if entry.key.partition(".")[0] in CHOICES:
                about[entry.key] = entry
            else:
                others.append(entry)
        scales = about["scale"].values if "scale" in about else (None,)

        designs = {}
        for name in about["experiment"].values:
            for scale in scales:
                words = [f"experiment={name}"]
                if scale:
                    words.append(f"scale={scale}")
                for key, entry in about.items():
                    if key not in CHOICES:
                        words += entry.words
                named = self._design(words, others)
                designs[named.name, named.scale] = named
        return list(designs.values())

    def _design(self, words: Sequence[str], given: Sequence[Argument]) -> NamedDesign:
        """The experiment and the scale that the words choose, with what else was given."""
        config = self._compose(words)
        if not OmegaConf.is_dict(config.experiment):
            raise InputError(
                "experiment=: name one, as in experiment=chameleon_table1 (see --help)"
            )
        experiment = _values(config.experiment)
        scale = _values(config.scale)
        design = Design(
            experiment, scale, given, _values(config.rules), self._kind_of, Transformer.str
        )

        name = str(experiment["name"])
        cells = design.cells()
        if experiment["arms"] and not cells:
            raise InputError(
                f"experiment={name}: no arm stands where the command line put it; take words away"
            )
        work = f"{len(cells)} cells" if experiment["arms"] else "counts its data, runs no cell"
        escape.say(f"{name} at scale {scale['name']}: {work}", sys.stderr)
        return NamedDesign(name, str(scale["name"]), design)

    def _compose(self, words: Iterable[str]) -> DictConfig:
        return self.loader.load_sweep_config(self.config, expanded(words))

    def _kind_of(self, words: Sequence[str]) -> str:
        """The kind of the task that a cell's overrides name, or the folder of its data has."""
        naming = ("task", "data", "data.root")
        tasks = [word for word in words if key_of(word) in naming]
        return str(self._compose(tasks).task.kind)

    def _check(self, given: Sequence[Argument], jobs: Sequence[SweepJob]) -> list[DictConfig]:
        """The configuration of each job. Raises if one of them does not compose, or if a setting
        that is given has an effect in none: before anything runs.
        """
        from bench.cell.settings import check_shared

        configs = [self._compose(job.words) for job in jobs]
        words: list[str] = []
        for entry in given:
            words += entry.words
        # a group or a setting of the first order has an effect in every cell
        if any("." in key_of(word) or word.startswith("+") for word in words):
            check_shared(words, configs)
        return configs

    def _need_data(self, configs: Sequence[DictConfig]) -> None:
        """Raises InputError if the data of the first cell is not there: once, not for each cell."""
        from bench.cell.plan import data_root
        from bench.cell.settings import section

        if configs:
            data_root(section(configs[0], "data"))

    def _count_data(self, designs: Iterable[NamedDesign]) -> None:
        """The statistics of each place of an experiment without arms."""
        from bench.sweep import data_statistics

        for named in designs:
            chosen = (f"experiment={named.name}", f"scale={named.scale}")
            for words in named.design.places():
                data_statistics.count(self._compose([*chosen, *words]), named.scale)

    def _launch(self, jobs: Sequence[SweepJob]) -> list[Sequence[JobReturn]]:
        """The results of all jobs, batch by batch."""
        if not self.config.dry:
            _make_root(Path(self.config.results.root))
        folder = Path(self.config.hydra.sweep.dir)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

        names = [job.name for job in jobs]
        launch.name_jobs(names)
        size = self.max_batch_size or len(jobs) or 1
        returns = []
        for first in range(0, len(jobs), size):
            batch = [expanded(job.words) for job in jobs[first : first + size]]
            results = self._launch_batch(batch, first, names)
            launch.note(results, first)
            for result in results:
                _ = result.return_value  # raises what the job raised
            returns.append(results)
        return returns

    def _launch_batch(
        self, batch: Sequence[Sequence[str]], first: int, names: Sequence[str]
    ) -> Sequence[JobReturn]:
        try:
            return self.launcher.launch(batch, initial_job_idx=first)
        except (HydraException, OmegaConfBaseException, InputError):
            raise
        except Exception as error:  # a worker died, and the launcher gives no results back
            raise StoreError(_unfinished(names, error)) from error


def _make_root(root: Path) -> None:
    """The folder of results.

    InputError if it neither is there nor can be made; StoreError on a full disk.
    """
    try:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
    except StoreError as error:
        cause = error.__cause__
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        raise error if full else InputError(str(error)) from None


def _unfinished(names: Sequence[str], error: Exception) -> str:
    """Which cells have not ended, and why, in a line."""
    ended = launch.codes()
    left = []
    for number, name in enumerate(names):
        if number not in ended:
            left.append(f"cell {number + 1} ({name})")
    first_line = str(error).strip().partition("\n")[0].strip()
    reason = first_line or type(error).__name__
    return (
        f"{len(left)} of {len(names)} cells are not done: {', '.join(left)}; a worker ended before"
        f" its cell did, most often for want of memory ({reason}); the same command goes on from"
        " here"
    )


def _membership(cell: PlannedCell, named: NamedDesign) -> list[str]:
    """The words that tell a cell of its experiment, for its manifest (bench/disk/manifest.py)."""
    entry = {
        "name": named.name,
        "scale": named.scale,
        "arm": cell.arm,
        "at": cell.at,
        "hash": cell.hash,
        "extra": cell.extra,
        "own": cell.own,
    }
    return [f"scale={named.scale}", experiment_override(entry)]


def _values(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True)
