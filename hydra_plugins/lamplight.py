"""Hydra looks for plug-ins in the package `hydra_plugins` alone, so this one has its door here; see
bench/sweep/sweeper.py.
"""

from bench.sweep.sweeper import Experiments


class ExperimentSweeper(Experiments):
    """What conf/hydra/sweeper/experiments.yaml names."""
