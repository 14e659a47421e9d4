"""`python -m bench method=chameleon task=lamp3`: run one cell, with `-m` a sweep of cells, or
`experiment=NAME`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench.checks.conf_files import CONF
from bench.errors import InputError
from bench.terminal import escape, silence, stops


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> int:
    """One cell. The exit code: 0 done, 1 failed, 2 bad input, 130 stopped by hand, 143 by TERM."""
    from bench.cli.show import cell

    return cell(config)


def asked(arguments: Sequence[str]) -> int:
    """What the arguments ask for: help, the version, a cell or a sweep. The exit code."""
    from bench import __version__
    from bench.cell import repeats
    from bench.cli import guide, spelling
    from bench.sweep.launch import codes

    if guide.is_asked(arguments):
        print(guide.text(arguments))
        return 0
    if {"--version", "version"} & set(arguments):
        print(f"lamplight {__version__}")
        return 0
    sys.argv[1:] = spelling.read(repeats.expanded(arguments))
    main()
    return max(codes().values(), default=0)


def _is_input(error: Exception) -> bool:
    """Whether the command line is wrong: Hydra says some of it with plain errors of Python."""
    if isinstance(error, HydraException | OmegaConfBaseException | InputError):
        return True
    *_, last = traceback.walk_tb(error.__traceback__)
    return str(last[0].f_globals.get("__name__")).startswith(("hydra.", "omegaconf."))


def run(arguments: Sequence[str]) -> int:
    """`asked`, with every error as a line on stderr and an exit code;
    one of ours keeps its traceback.
    """
    from bench.cli.mistakes import explain
    from bench.disk.files import StoreError

    silence.libraries()
    stops.listen()
    traced = "HYDRA_FULL_ERROR" in os.environ
    # else Hydra prints what it finds wrong itself, over many lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return asked(arguments)
    except KeyboardInterrupt as stop:  # while jobs in other processes are waited for
        return stops.say_stopped(stop)
    except Exception as error:  # Hydra refused a mistyped key or value, or a worker died
        if traced:
            raise
        mistaken = _is_input(error)
        if not mistaken and not isinstance(error, StoreError):
            traceback.print_exc()  # not the user's mistake: say where
        escape.say(f"error: {explain(error, arguments)}", sys.stderr)
        return 2 if mistaken else 1


if __name__ == "__main__":
    from bench.terminal.pipe import unpiped

    unpiped()
    sys.exit(run(sys.argv[1:]))
