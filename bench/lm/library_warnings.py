"""What a library warns of while it loads a model. On the screen nobody hears it; it may say that
answers are wrong, so that it belongs in the record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bench.terminal import silence

_LIBRARY = "transformers"


class _Listener(logging.Handler):
    """Keeps each warning once, on one line."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self._heard:
            self._heard.append(text)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Inside, the library's warnings are put into the list. The screen gets what it got before."""
    # Imported first: the library sets its logger up while it is imported.
    from transformers.utils import logging as library_logging

    heard: list[str] = []
    silence.libraries()
    silence.listening.add(_LIBRARY)
    library_logging.get_logger()
    logger = logging.getLogger(_LIBRARY)
    level, handlers = logger.level, list(logger.handlers)
    for handler in handlers:
        # The logger now lets warnings through to everybody: these still hear what they asked for.
        handler.addFilter(_at_least(level))
    listener = _Listener(heard)
    logger.addHandler(listener)
    logger.setLevel(min(level or logging.WARNING, logging.WARNING))
    silent = _silenced()
    for child in silent:
        child.disabled = False
    try:
        yield heard
    finally:
        for child in silent:
            child.disabled = True
        logger.setLevel(level)
        logger.removeHandler(listener)
        for handler in handlers:
            handler.filters.pop()
        silence.listening.discard(_LIBRARY)


def _silenced() -> list[logging.Logger]:
    """The library's loggers that are switched off: a configuration of logging, as Hydra's, does so
    with all that are there before it.
    """
    silent = []
    for name, logger in logging.root.manager.loggerDict.items():
        ours = name == _LIBRARY or name.startswith(f"{_LIBRARY}.")
        if ours and isinstance(logger, logging.Logger) and logger.disabled:
            silent.append(logger)
    return silent


def _at_least(level: int) -> logging.Filter:
    only = logging.Filter()
    only.filter = lambda record: record.levelno >= level  # type: ignore[method-assign]
    return only
