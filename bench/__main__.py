"""`python -m bench method=chameleon task=lamp3`: run one cell, with `-m` a sweep of cells, or `experiment=NAME`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> int:
    """One cell. The exit code: 0 done, 1 failed, 2 bad input, 130 stopped by hand."""
    from bench.show import cell

    return cell(config)


if __name__ == "__main__":
    from bench.launch import codes

    if any(word.startswith("experiment=") for word in sys.argv[1:]) and not {"-m", "--multirun"} & set(sys.argv):
        sys.argv.insert(1, "-m")  # an experiment is a sweep
    try:
        main()
    except KeyboardInterrupt:  # while jobs in other processes are waited for
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:  # 1: Hydra refused a mistyped key or value, or a worker died
        sys.exit((1 if codes() else 2) if stop.code == 1 else stop.code)
    sys.exit(max(codes(), default=0))
