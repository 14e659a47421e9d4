"""The one place that opens a model, by the engine that its ModelSpec names. Imports no torch."""

from __future__ import annotations

from pkgutil import resolve_name

from bench.lm.backend import Backend
from bench.lm.spec import ModelSpec


def backend_of(spec: ModelSpec) -> Backend:
    """The model, its weights loaded or its server found.

    `spec.engine` is a class, as `module:NAME`, that takes the ModelSpec and is a Backend.
    """
    backend: Backend = resolve_name(spec.engine)(spec)
    return backend
