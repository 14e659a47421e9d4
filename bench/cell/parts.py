"""Build the parts of a recorded cell (model, task, method) by an explicit table of classes.

A results folder is data that people share. Hydra's `instantiate` would call whatever its
`config.yaml` names; here a name only counts if it stands in the table below, or in a plug-in that
the user named on the command line.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from bench.cell.schema import TARGET, class_today
from bench.checks.fields import check_fields
from bench.errors import InputError

PRODUCT = frozenset(
    {
        "bench.data.retrieval.Retriever",
        "bench.data.selection.PCASelection",
        "bench.data.task.load",
        "bench.lm.base.BaseSpec",
        "bench.lm.profile.Profile",
        "bench.lm.spec.AdapterFolder",
        "bench.lm.spec.ModelSpec",
        "bench.data.protocol.Protocol",
        "bench.types.Decoding",
        "methods.adapter.Adapter",
        "methods.aloe.aloe.Aloe",
        "methods.chameleon.chameleon.Chameleon",
        "methods.dpo.dpo.DPO",
        "methods.instruct.Instruct",
        "methods.llm_rec.LLMRec",
        "methods.majority.Majority",
        "methods.oppu.OPPU",
        "methods.pag.PAG",
        "methods.pooled.Pooled",
        "methods.rag.RAG",
        "methods.random_history.RandomHistory",
    }
)
"""What a recorded configuration may name: each only fills the fields of a dataclass."""


def build(config: Any, where: str, plugins: Sequence[str] = ()) -> Any:
    """The value that a recorded configuration describes, with every nested part built too.

    `where`: the file and section, for errors. `plugins`: packages or modules whose methods may be
    named besides the product's own. Raises InputError for any other name, and for fields that the
    class does not have.
    """
    if isinstance(config, list):
        return [build(entry, where, plugins) for entry in config]
    if not isinstance(config, Mapping):
        return config
    fields = {
        name: build(value, where, plugins) for name, value in config.items() if name != TARGET
    }
    if TARGET not in config:
        return fields
    # `_args_`, `_partial_` and the like steer Hydra; no part that the product records has them.
    steering = sorted(name for name in fields if name.startswith("_"))
    if steering:
        raise InputError(f"{where}: a recorded part has no {steering[0]}")
    return _filled(_class_of(config[TARGET], where, plugins), fields, where)


def _class_of(name: Any, where: str, plugins: Sequence[str]) -> Any:
    if not isinstance(name, str):
        raise InputError(f"{where}: {TARGET} is {type(name).__name__}, not a name")
    name = class_today(name)
    if name in PRODUCT:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)
    for plugin in plugins:
        if name.startswith(f"{plugin}."):
            return _plugin_method(name, plugin, where)
    raise InputError(
        f"{where}: {name!r:.80} is no part of Lamplight, and nothing that a results folder names is"
        " run; if it is a method of a plug-in that you trust, name its package: --plugin PACKAGE"
    )


def _plugin_method(name: str, plugin: str, where: str) -> Any:
    """A method's class in a package that the user trusts;
    other callables of the package stay out of reach.
    """
    from bench.method import Method

    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--plugin {plugin}: cannot find {name} ({error})") from None
    if not (isinstance(found, type) and issubclass(found, Method) and is_dataclass(found)):
        raise InputError(
            f"{where}: {name} is no method class (a dataclass derived from bench.method.Method)"
        )
    return found


def _filled(maker: Any, fields: Mapping[str, Any], where: str) -> Any:
    try:
        part = maker(**fields)
    except TypeError as error:  # a field that the class does not have, or one that it needs
        raise InputError(f"{where}: {error}; the cell was made by another version") from None
    check_fields(where, part)
    return part
