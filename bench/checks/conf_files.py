"""The files of conf/ as plain values, without Hydra: `conf/GROUP/NAME.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import InputError

CONF = Path(__file__).parents[2] / "conf"


def option(group: str, name: str, conf: Path = CONF) -> Mapping[str, Any]:
    """What the file of an option says. Raises InputError if it cannot be read, or says no
    settings.
    """
    return _mapping(conf / group / f"{name}.yaml")


def config(conf: Path = CONF) -> Mapping[str, Any]:
    """What config.yaml says: the settings that belong to no group, and the default of each group.
    Raises InputError if it cannot be read.
    """
    return _mapping(conf / "config.yaml")


def names(group: str, conf: Path = CONF) -> list[str]:
    """The options of a group, by name."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def _mapping(path: Path) -> Mapping[str, Any]:
    import yaml

    # libyaml's loader is ten times as fast as the one in Python, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: no settings, which a file of conf/ has as `name: value`")
    return values
