"""`python -m bench --help`: one screen with the choices,
and the settings of the chosen method and task.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from bench.checks import catalog
from bench.checks.yaml_settings import Setting

WIDTH = 100
_COLUMN = 33
"""Where explanations begin."""
_SHARED = ("selection", "retriever", "profile", "adapter")
"""Sections of config.yaml that count where a method's settings refer to them."""
_SELDOM = ("shard", "window", "profile", "rules", "experiment", "progress")
"""Settings that are left to the long help."""
_ORDER = ("method", "task", "model", "base", "data", "protocol", "decoding", "experiment", "scale")
_HEAD = """\
Lamplight compares ways to personalize a language model on the LaMP benchmark.

  python -m bench method=chameleon task=lamp3         one cell, on the embedded sample
  python -m bench -m method=rag,oppu seed=0,1         a sweep; the same command again goes on
  python -m bench experiment=controls scale=laptop    a table of a paper (docs/experiments.md)
  python -m bench data=lamp data.root=FOLDER ...      LaMP's files (python -m bench.download --help)
  python -m bench.report                              a table of all that has run
  python -m bench.new method NAME                     the files of a method of your own, to edit
"""
_FOOT = """\
Exit codes: 0 done, 1 a cell failed, 2 bad input. Other choices have other settings: method=oppu
--help. All settings of all choices, prompts too: --help=all. More: README.md, docs/."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for help in any of the usual ways."""
    return any(word in ("-h", "--help", "help", "--help=all") for word in arguments)


def text(arguments: Sequence[str]) -> str:
    """The help for the choices that the arguments make. Raises InputError on what is no setting."""
    from bench.cli import spelling

    whole = "--help=all" in arguments
    asked = [
        word for word in arguments if word not in ("-h", "--help", "help", "--help=all", "all")
    ]
    given = spelling.read([word for word in asked if word not in ("-m", "--multirun")])
    options = catalog.options_of(given)
    known = catalog.settings(options)
    parts = [
        _HEAD,
        "Choices (* this help's; -m runs several, as in method=rag,oppu):",
        *_choices(options),
        "",
    ]
    shown = list(options) if whole else ["method", "task"]
    these = " ".join(f"{group}={options[group]}" for group in shown)
    parts += textwrap.wrap(f"Settings of {these}, with their defaults:", WIDTH)
    parts += [
        line
        for group in shown
        for line in _lines(_of_group(known, group, whole=whole), whole=whole)
    ]
    parts += [
        "",
        "For every cell:",
        *_lines(_common(known, options, whole=whole), whole=whole),
        "",
        _FOOT,
    ]
    return "\n".join(parts)


def _choices(options: Mapping[str, str]) -> Iterator[str]:
    for group, names in sorted(catalog.groups().items(), key=lambda one: _ORDER.index(one[0])):
        marked = (f"*{name}" if options.get(group) == name else name for name in names)
        also = " OWNER/NAME FOLDER" if group == "model" else ""
        lead = f"  {group:<11} "
        yield from textwrap.wrap(
            " ".join(marked) + also, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)
        )
    yield (
        f"  {'launcher':<11} hydra/launcher=joblib ray submitit_local submitit_slurm   of a sweep"
        " (docs/scale.md)"
    )


def _of_group(known: Mapping[str, Setting], group: str, *, whole: bool) -> list[Setting]:
    """The settings of a group; of a task, those that a user changes."""
    found = [one for one in known.values() if one.key.startswith(f"{group}.") and not one.inner]
    if group == "task" and not whole:
        return [one for one in found if one.key in ("task.max_new_tokens", "task.labels")]
    return [one for one in found if whole or not one.is_reference]


def _common(
    known: Mapping[str, Setting], options: Mapping[str, str], *, whole: bool
) -> list[Setting]:
    """Settings of no group; of those that several methods share,
    the ones that this method reads.
    """
    common = {key.partition(".")[0] for key in catalog.settings({})} - set(catalog.groups())
    found = [one for one in known.values() if one.key.partition(".")[0] in common and not one.inner]
    if whole:
        return found
    method = catalog.of_option("method", options["method"]).values()
    read = {section for section in _SHARED for one in method if f"${{{section}" in one.value}
    left_out = {*_SELDOM, *(set(_SHARED) - read)}
    return [
        one for one in found if one.key.partition(".")[0] not in left_out and not one.is_reference
    ]


def _lines(found: Iterable[Setting], *, whole: bool) -> Iterator[str]:
    """A line for each setting; those of a section inside, together, unless all are asked for."""
    for section, group in groupby(found, key=lambda one: "" if whole else _section(one.key)):
        if not section:
            for one in group:
                yield from _line(f"{one.key}={one.value}", one.about, whole=whole)
            continue
        lead = f"  {section}.* "
        inside = ", ".join(f"{one.key.removeprefix(f'{section}.')}={one.value}" for one in group)
        yield from textwrap.wrap(inside, WIDTH, initial_indent=lead, subsequent_indent=" " * 6)


def _section(key: str) -> str:
    """`method.ccs` of `method.ccs.lr`, `selection` of `selection.n_items`; nothing for a setting of
    the first order.
    """
    section = ".".join(key.split(".")[: 1 if key.startswith(_SHARED) else 2])
    return "" if section == key else section


def _line(setting: str, about: str, *, whole: bool) -> list[str]:
    if whole:
        said = f"  {setting:<{_COLUMN}}{f'  # {about}' if about else ''}".rstrip()
        return textwrap.wrap(
            said, WIDTH, initial_indent="", subsequent_indent=" " * 6, break_long_words=True
        )
    shown = setting if len(setting) <= 60 else f"{setting[:57]}..."
    if not about:
        return [f"  {shown}"]
    lead = f"  {shown:<{_COLUMN}}  "
    return [lead + textwrap.shorten(about, WIDTH - len(lead), placeholder=" ...")]
