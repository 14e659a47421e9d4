"""Where a result comes from: git revision, package versions, machine; and where caches live."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

_PACKAGES = (
    "lamplight",
    "torch",
    "transformers",
    "peft",
    "scikit-learn",
    "rouge-score",
    "sentence-transformers",
    "hydra-core",
    "numpy",
)

_CODE = ("bench", "methods", "conf", "hydra_plugins")


def cache_folder() -> Path:
    """`~/.cache/lamplight`, or what LAMPLIGHT_CACHE names."""
    named = os.environ.get("LAMPLIGHT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "lamplight"


def describe() -> dict[str, object]:
    """Code, packages and machine, for the record. Holds no host name and no path."""
    return {
        "git": _git(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "system": platform.system(),
        "processor": _processor(),
        "accelerators": _accelerators(),
        "cores": (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def _git() -> dict[str, object] | None:
    """The revision, and whether the code differs from it; a file that git does not track is code
    too.

    None outside of a repository, or in another's: an environment may lie inside some project of the
    user.
    """
    here = Path(__file__).parents[2]

    def run(*command: str) -> str:
        return subprocess.run(
            ("git", *command), cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        run("ls-files", "--error-unmatch", "bench/disk/env.py")
        changed = run("status", "--porcelain", "--untracked-files=no")
        new = run("status", "--porcelain", "--untracked-files=all", "--", *_CODE)
        return {"revision": run("rev-parse", "HEAD"), "dirty": bool(changed or new)}
    except (OSError, subprocess.CalledProcessError):
        return None


def _accelerators() -> list[str]:
    """Names of the GPUs that this process sees, where it has loaded torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
