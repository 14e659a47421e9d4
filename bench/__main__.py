"""`python -m bench method=chameleon task=lamp3`: run one cell, with `-m` a sweep of cells, or `experiment=NAME`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

_codes: list[int] = []


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> int:
    """One cell. The exit code: 0 done, 1 failed, 2 bad input, 130 stopped by hand."""
    from bench.show import cell

    code = cell(config)
    _codes.append(code)
    return code


if __name__ == "__main__":
    if any(word.startswith("experiment=") for word in sys.argv[1:]) and not {"-m", "--multirun"} & set(sys.argv):
        sys.argv.insert(1, "-m")  # an experiment is a sweep
    try:
        main()
    except SystemExit as stop:  # Hydra's own refusals (a mistyped key or value) are bad input
        sys.exit(2 if stop.code == 1 else stop.code)
    sys.exit(max(_codes, default=0))
