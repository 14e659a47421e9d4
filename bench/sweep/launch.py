"""Jobs of a sweep in other processes, with any launcher: exit codes, lines that do not garble, one
accelerator each.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from bench.terminal import escape, silence
from bench.terminal.pipe import Unpiped

# The launchers' defaults stand in conf/hydra/launcher under the plug-ins' own names, which is what
# is meant.
warnings.filterwarnings(
    "ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
)

_GPUS = Path("/proc/driver/nvidia/gpus")
_GRACE = 5.0  # seconds that a worker without a parent has for a clean stop
_ended: dict[int, int] = {}
"""The exit code of each job that has ended, by its number in the sweep; a single run is number 0.
"""
_code_files: list[Path] = []  # in which jobs in other processes write theirs
_callbacks: list[Jobs] = []  # of this process, where Hydra makes them


class Jobs(Callback):
    """Hydra copies this object to every job, wherever it runs. `names`: of the cells of the sweep,
    by number.

    Jobs in other processes write their codes to `code_file` as they end: a launcher whose worker
    dies gives no results back.
    """

    def __init__(self) -> None:
        self.starter = os.getpid()
        self.code_file: Path | None = None
        self.names: list[str] = []
        self._streams: tuple[TextIO, TextIO] | None = None
        _callbacks.append(self)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        # read when a local cluster is started
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        launcher = str(OmegaConf.select(config, "hydra.launcher._target_"))
        # no file is needed, so that a folder that cannot be written can be read
        if "basic_launcher" in launcher:
            _sweep_in(".", config)
        else:
            if "joblib" in launcher:
                _sweep_in(tempfile.mkdtemp(prefix="lamplight-"), config)
            folder = Path(config.hydra.sweep.dir).absolute()
            self.code_file = folder / f".codes-{secrets.token_hex(4)}"
            _code_files.append(self.code_file)
        remote = OmegaConf.select(config, "hydra.launcher.ray.remote")
        # joblib takes turns, Slurm is asked for one
        if remote is not None and remote.num_gpus is None:
            with read_write(remote):
                remote.num_gpus = min(1, len(_gpus()))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if os.getpid() != self.starter:
            silence.libraries()
            if _is_joblib():
                _end_with(self.starter)
            take_accelerator()
            tell_of_hidden_accelerators()
            self._streams = sys.stdout, sys.stderr
            prefix = f"[{_number(config)}] "
            sys.stdout = cast(TextIO, Prefixed(Unpiped(sys.stdout), prefix))
            sys.stderr = cast(TextIO, Prefixed(Unpiped(sys.stderr), prefix))
        if len(self.names) > 1 and config.progress is True and not config.dry:
            number = _number(config)
            name = escape.line(self.names[number])
            escape.say(f"cell {number + 1} of {len(self.names)}: {name}", sys.stderr)
            sys.stderr.flush()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        code = _code(job_return)
        if os.getpid() == self.starter:
            _ended[_number(config)] = code
        elif self.code_file is not None:
            # of a full disk the launcher's results tell
            with suppress(OSError), self.code_file.open("a") as file:
                file.write(f"{_number(config)} {code}\n")
        if self._streams:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = self._streams
            self._streams = None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        codes()
        if Path(config.hydra.sweep.dir).name.startswith("lamplight-"):
            shutil.rmtree(config.hydra.sweep.dir, ignore_errors=True)


class Prefixed:
    """A stream for one of several jobs: whole lines, each with the job's number;
    no terminal, so no moving bars.
    """

    def __init__(self, stream: TextIO | Unpiped, prefix: str) -> None:
        self._stream, self._prefix, self._rest = stream, prefix, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._stream.write("".join(f"{self._prefix}{line}\n" for line in lines))
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        if self._rest:
            self.write("\n")
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def name_jobs(names: Sequence[str]) -> None:
    """The name of each job of the sweep that is about to start, by number."""
    for callback in _callbacks:
        callback.names = list(names)


def note(results: Sequence[JobReturn], first: int) -> None:
    """The codes of jobs as their launcher gives them back; `first`:
    the number of the first of them.
    """
    for number, result in enumerate(results, first):
        _ended[number] = _code(result)


def codes() -> dict[int, int]:
    """The exit code of every job of this process that has ended, by number, wherever it ran."""
    for path in _code_files:
        if path.exists():
            for line in path.read_text().splitlines():
                number, code = line.split()
                _ended.setdefault(int(number), int(code))
            path.unlink()
    return dict(_ended)


def _code(result: JobReturn) -> int:
    return int(result.return_value) if result.status == JobStatus.COMPLETED else 1


def _number(config: DictConfig) -> int:
    """The number of a job in its sweep; 0 for a single run."""
    return 0 if OmegaConf.is_missing(config.hydra.job, "num") else int(config.hydra.job.num)


def _sweep_in(folder: str, config: DictConfig) -> None:
    """Hydra's own folder of the sweep; said as an override too,
    from which it makes the jobs' configurations.
    """
    with read_write(config.hydra):
        config.hydra.sweep.dir = folder
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")


_watched: list[int] = []


def _end_with(parent: int) -> None:
    """A joblib worker stops, as by a signal, when the process that started it is gone: nobody waits
    for its answers.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(143)

    if parent not in _watched:
        _watched.append(parent)
        threading.Thread(target=watch, daemon=True).start()


def _is_joblib() -> bool:
    return multiprocessing.current_process().name.startswith("LokyProcess")


def take_accelerator() -> None:
    """One accelerator for each joblib worker, in turn. Ray and Slurm give each job its own, and
    show it no other.
    """
    number = multiprocessing.current_process().name.partition("-")[2]
    if not _is_joblib() or "LAMPLIGHT_ACCELERATOR" in os.environ:
        return
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = shown.split(",") if shown else [str(at) for at, _ in enumerate(_gpus())]
    if there and number.isdigit():
        if int(number) > len(there):
            print(
                f"worker {number} shares an accelerator with another, as there are {len(there)}:"
                f" memory may not suffice for both; hydra.launcher.n_jobs={len(there)} gives each"
                " its own",
                file=sys.stderr,
            )
        os.environ["LAMPLIGHT_ACCELERATOR"] = there[(int(number) - 1) % len(there)]
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["LAMPLIGHT_ACCELERATOR"]


def tell_of_hidden_accelerators() -> None:
    """A job that is shown none of this machine's accelerators runs on the CPU: never in silence."""
    if _gpus() and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        print(
            f"this job is shown none of the {len(_gpus())} accelerators here and takes the CPU "
            "(on Ray: hydra.launcher.ray.remote.num_gpus=1)",
            file=sys.stderr,
        )


def _gpus() -> list[Path]:
    return sorted(_GPUS.iterdir()) if _GPUS.is_dir() else []
