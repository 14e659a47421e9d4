"""Refuse a cell whose model cannot do what the cell needs, before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection

from bench.errors import InputError
from bench.lm.backend import Capability
from bench.lm.base import BaseSpec
from bench.lm.spec import ModelSpec
from bench.method import Method
from bench.types import Decoding


def check_capabilities(
    spec: ModelSpec, name: str, method: Method, base: BaseSpec, decoding: Decoding
) -> None:
    """Raise InputError if the model lacks what the method (called `name`),
    the base or the decoding needs.
    """
    if not method.needs_model:
        return
    _refuse(spec, f"method={name}", method.needs)
    if base.kind == "task_adapted":
        _refuse(spec, f"base={base.kind}", {"training", "patches"})
    if decoding.rule == "likelihood":
        _refuse(spec, f"decoding={decoding.rule}", {"logprobs"})


def _refuse(spec: ModelSpec, who: str, needs: Collection[Capability]) -> None:
    missing = sorted(need for need in needs if need not in spec.can)
    if missing:
        can = ", ".join(sorted(spec.can)) or "nothing besides answering"
        if spec.thinking == "on":
            raise InputError(
                f"{who} needs {', '.join(missing)}, and a model that thinks first can do {can}:"
                " what is scored or learnt would stand behind no thought; set model.thinking=off"
            )
        raise InputError(
            f"{who} needs {', '.join(missing)}, and model {spec.name} can do {can}: choose a model"
            " whose weights are in this process"
        )
