"""`python -m bench --help`: one screen with the choices, and the settings of the method and task
that the command line names.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Mapping, Sequence

from bench.checks import catalog
from bench.checks.yaml_settings import Setting
from bench.cli import setting_lines
from bench.cli.setting_lines import WIDTH

SCREEN = 50
"""Lines of a screen."""
_SHARED = ("selection", "retriever", "profile", "adapter")
"""Sections of config.yaml that count where a method's settings refer to them."""
_SELDOM = ("shard", "window", "profile", "rules", "experiment", "progress")
"""Settings that are left to the long help."""
_OF_TASKS = ("task.labels", "task.max_new_tokens")
"""Settings of a task that a user changes."""
_ORDER = ("method", "task", "model", "base", "data", "protocol", "decoding", "experiment", "scale")
_HELP = ("-h", "--help", "help", "--help=all")
_HEAD = """\
Lamplight compares ways to personalize a language model on the LaMP benchmark.

  python -m bench method=chameleon task=lamp3         one cell, on the embedded sample
  python -m bench -m method=rag,oppu seed=0,1         a sweep; the same command again goes on
  python -m bench experiment=controls scale=laptop    a table of a paper (docs/experiments.md)
  python -m bench data=lamp data.root=FOLDER ...      LaMP's files (python -m bench.download --help)
  python -m bench.report                              a table of all that has run
  python -m bench.new method NAME                     the files of a method of your own, to edit
"""
_CHOICES = "Choices (* this help's; -m runs several, as in method=rag,oppu):"
_LAUNCHERS = "hydra/launcher=joblib ray submitit_local submitit_slurm   of a sweep (docs/scale.md)"
_FOR_EVERY_CELL = ("", "For every cell:")
_FOOT = """\
Exit codes: 0 done, 1 a cell failed, 2 bad input. Other choices have other settings: method=oppu
--help. All settings of all choices, each explained, prompts too: --help=all. More: README.md."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for help in any of the usual ways."""
    return not set(_HELP).isdisjoint(arguments)


def text(arguments: Sequence[str]) -> str:
    """The help for the choices that the arguments make. Raises InputError on what is no setting."""
    from bench.cli import spelling

    no_settings = (*_HELP, "all", "-m", "--multirun")
    words = [word for word in arguments if word not in no_settings]
    options = catalog.options_of(spelling.read(words))
    lines = _long(options) if "--help=all" in arguments else _screen(options)
    return "\n".join(lines)


def _long(options: Mapping[str, str]) -> list[str]:
    """Every setting of the options, each with its explanation."""
    known = catalog.settings(options)
    lines = [*_beginning(options), *_heading(options)]
    for group in options:
        lines += setting_lines.whole(_of_sections(known, [group]))
    common = setting_lines.whole(_of_sections(known, _common()))
    return [*lines, *_FOR_EVERY_CELL, *common, "", _FOOT]


def _screen(options: Mapping[str, str]) -> list[str]:
    """As many settings with their explanation as a screen has room for, and the others in short."""
    known = catalog.settings(options)
    task = [known[key] for key in _OF_TASKS if key in known]
    method = _own(_of_sections(known, ["method"]))
    common = _own(_of_sections(known, _common() - _unread(options["method"])))

    of_cell = {"method": options["method"], "task": options["task"]}
    above = [*_beginning(options), *_heading(of_cell)]
    below = [*setting_lines.in_short(task), *_FOR_EVERY_CELL, *setting_lines.main_ones(common), ""]
    below += _FOOT.splitlines()
    room = SCREEN - len(above) - len(below)
    return [*above, *setting_lines.fitting(method, room), *below]


def _beginning(options: Mapping[str, str]) -> list[str]:
    """The commands, and the options of each group."""
    lines = [*_HEAD.splitlines(), "", _CHOICES]
    for group in sorted(catalog.groups(), key=_ORDER.index):
        names = " ".join(catalog.groups()[group])
        if group in options:
            names = re.sub(rf"(?<!\S){re.escape(options[group])}(?!\S)", r"*\g<0>", names)
        if group == "model":
            names += " OWNER/NAME FOLDER"
        lines += setting_lines.hanging(f"  {group:<10} ", names)
    return [*lines, f"  {'launcher':<10} {_LAUNCHERS}", ""]


def _heading(options: Mapping[str, str]) -> list[str]:
    choices = " ".join(map("=".join, options.items()))
    return textwrap.wrap(f"Settings of {choices}, with their defaults:", WIDTH)


def _of_sections(known: Mapping[str, Setting], sections: Container[str]) -> list[Setting]:
    """The settings of these sections, except for those inside the value of another setting."""
    settings = []
    for setting in known.values():
        if setting.section in sections and not setting.inner:
            settings.append(setting)
    return settings


def _own(settings: Sequence[Setting]) -> list[Setting]:
    """Those that are set where they stand, not elsewhere."""
    own = []
    for setting in settings:
        if not setting.is_reference:
            own.append(setting)
    return own


def _common() -> set[str]:
    """The sections that belong to no group."""
    sections = {setting.section for setting in catalog.settings({}).values()}
    return sections - set(catalog.groups())


def _unread(method: str) -> set[str]:
    """The common sections that a method does not refer to, and those that few people set."""
    unread = set(_SHARED)
    for setting in catalog.of_option("method", method).values():
        for section in _SHARED:
            if f"${{{section}" in setting.value:
                unread.discard(section)
    return unread | set(_SELDOM)
