"""`python -m bench method=chameleon task=lamp3`: run one cell, with `-m` a sweep of cells, or `experiment=NAME`."""

from __future__ import annotations

import os
import sys
import traceback

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench import quiet, stops
from bench.types import InputError


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> int:
    """One cell. The exit code: 0 done, 1 failed, 2 bad input, 130 stopped by hand, 143 by TERM."""
    from bench.show import cell

    return cell(config)


if __name__ == "__main__":
    quiet.libraries()
    from bench.launch import codes
    from bench.mistakes import told

    if any(word.startswith("experiment=") for word in sys.argv[1:]) and not {"-m", "--multirun"} & set(sys.argv):
        sys.argv.insert(1, "-m")  # an experiment is a sweep
    stops.listen()
    traced = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints what it finds wrong itself, over many lines
    try:
        main()
    except KeyboardInterrupt as stop:  # while jobs in other processes are waited for
        sys.exit(stops.told(stop))
    except Exception as error:  # Hydra refused a mistyped key or value, or a worker died
        if traced:
            raise
        if not isinstance(error, HydraException | OmegaConfBaseException | InputError):
            traceback.print_exc()  # not the user's mistake: say where
        print(f"error: {told(error)}", file=sys.stderr)
        sys.exit(1 if codes() else 2)
    sys.exit(max(codes(), default=0))
