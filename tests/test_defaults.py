"""A setting has one default: what its dataclass says is what its file in conf/ says."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from conftest import ROOT

OTHERS = {
    # A model's own limits, and what the two kinds of base are, cannot be one default.
    "bench.lm.spec.ModelSpec",
    "bench.lm.base.BaseSpec",
    # How texts are drawn goes by what is written: greedy is the dataclass's word for an answer.
    "bench.types.Decoding",
}


def configured() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """File, class and fields of each dataclass that conf/ describes, nested ones too.

    A file that is made on another one (`defaults:`) says what it changes, and is left out.
    """
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        content = yaml.safe_load(path.read_text()) or {}
        if "hydra" not in path.parts:
            yield from parts(path.name, content)


def parts(name: str, value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return
    target = value.get("_target_", "")
    if target and target not in OTHERS:
        yield name, target, value
    for entry in value.values():
        yield from parts(name, entry)


def default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


CONFIGURED = [row for row in configured() if "load" not in row[1] and "Jobs" not in row[1]]


def test_methods_protocol_selection_and_retriever_are_among_them() -> None:
    names = {target.rpartition(".")[2] for _, target, _ in CONFIGURED}
    assert {"Protocol", "PCASelection", "Retriever", "Profile", "OPPU", "Chameleon"} <= names


@pytest.mark.parametrize(("file", "target", "values"), CONFIGURED)
def test_the_default_of_a_field_is_that_of_its_file(
    file: str, target: str, values: Mapping[str, Any]
) -> None:
    module, _, name = target.rpartition(".")
    differing = {}
    for field in dataclasses.fields(getattr(importlib.import_module(module), name)):
        said, known = values.get(field.name), default(field)
        unknown = field.name not in values or known is dataclasses.MISSING
        if unknown or isinstance(said, Mapping) or "${" in str(said):
            continue  # set by the file alone, a part with fields of its own, or taken from elsewhere
        known = list(known) if isinstance(known, tuple) else known
        if said != known or type(said) is not type(known):
            differing[field.name] = (said, known)
    assert differing == {}, f"{file}: what the file says, and what the class says"
