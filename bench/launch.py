"""Jobs of a sweep in other processes, with any launcher: exit codes, lines that do not garble, one accelerator each."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO, cast

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from bench import quiet

# The launchers' defaults stand in conf/hydra/launcher under the plug-ins' own names, which is what is meant.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

_GPUS = Path("/proc/driver/nvidia/gpus")
_ended: list[int] = []  # the code of a single run
_told: list[Path] = []  # where the jobs of a sweep tell theirs


class Jobs(Callback):
    """Hydra copies this object to every job, wherever it runs; the disk of `hydra.sweep.dir` is common to all."""

    def __init__(self) -> None:
        self.starter = os.getpid()
        self.told: Path | None = None
        self._streams: tuple[TextIO, TextIO] | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when a local cluster is started
        self.told = Path(config.hydra.sweep.dir).absolute() / f".codes-{secrets.token_hex(4)}"
        _told.append(self.told)
        remote = OmegaConf.select(config, "hydra.launcher.ray.remote")
        if remote is not None and remote.num_gpus is None:  # joblib takes turns, Slurm is asked for one
            with read_write(remote):
                remote.num_gpus = min(1, len(_gpus()))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if os.getpid() != self.starter:
            quiet.libraries()
            take_accelerator()
            tell_of_hidden_accelerators()
            self._streams = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = (cast(TextIO, Prefixed(one, _name(config))) for one in self._streams)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        code = job_return.return_value if job_return.status == JobStatus.COMPLETED else 1
        if self.told is None:
            _ended.append(int(code))
        else:
            with self.told.open("a") as file:
                file.write(f"{code}\n")
        if self._streams:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = self._streams
            self._streams = None


class Prefixed:
    """A stream for one of several jobs: whole lines, each with the job's number; no terminal, so no moving bars."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
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


def codes() -> list[int]:
    """The exit codes of the jobs of this process that have ended, wherever they ran."""
    found = list(_ended)
    for path in _told:
        if path.exists():
            found += [int(line) for line in path.read_text().split()]
            path.unlink()
    return found


def take_accelerator() -> None:
    """One accelerator for each joblib worker, in turn. Ray and Slurm give each job its own, and show it no other."""
    kind, _, number = multiprocessing.current_process().name.partition("-")
    if kind != "LokyProcess" or "LAMPLIGHT_ACCELERATOR" in os.environ:
        return
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = shown.split(",") if shown else [str(at) for at, _ in enumerate(_gpus())]
    if there and number.isdigit():
        if int(number) > len(there):
            print(
                f"worker {number} shares an accelerator with another, as there are {len(there)}: memory may not "
                f"suffice for both; hydra.launcher.n_jobs={len(there)} gives each its own",
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


def _name(config: DictConfig) -> str:
    return f"[{config.hydra.job.num}] "
