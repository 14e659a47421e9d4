"""Every setting with named choices refuses what is none of them: a misspelt control must not run as
the real method.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import pytest
from cells import TINY, run
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bench.checks.fields import check_fields
from bench.errors import InputError

CONF = Path(__file__).parent.parent / "conf"
GROUPS = ("method", "model", "base", "protocol", "decoding")


def parts() -> Iterator[tuple[str, str, Any]]:
    """Group, option and dataclass of everything that a configuration makes;
    folders of a model or adapter not.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for group in GROUPS:
            for path in sorted((CONF / group).glob("*.yaml")):
                if path.stem not in ("adapter", "folder"):
                    config = compose("config", [f"{group}={path.stem}"])
                    yield group, path.stem, instantiate(config[group], _convert_="all")


PARTS = list(parts())


def choices(part: Any) -> list[str]:
    hints = get_type_hints(type(part))
    return [one.name for one in fields(part) if get_origin(hints[one.name]) is Literal]


@pytest.mark.parametrize(
    ("group", "option", "part"), PARTS, ids=[f"{group}={option}" for group, option, _ in PARTS]
)
def test_a_value_that_is_no_choice_is_refused_by_name(group: str, option: str, part: Any) -> None:
    check_fields(group, part)
    for name in choices(part):
        with pytest.raises(InputError, match=name):
            check_fields(group, replace(part, **{name: "nonsense"}))
    for inner in fields(part):
        value = getattr(part, inner.name)
        for name in choices(value) if is_dataclass(value) else ():
            with pytest.raises(InputError, match=name):
                check_fields(
                    group, replace(part, **{inner.name: replace(value, **{name: "nonsense"})})
                )


def test_chameleons_controls_are_among_the_choices_that_are_checked() -> None:
    [chameleon] = [part for _, option, part in PARTS if option == "chameleon"]
    assert {"control", "edit", "layout", "pool", "space", "svd_on", "rank_by", "mode"} <= set(
        choices(chameleon)
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("method=chameleon", "method.control=random_direction"), "choose none, random_directions"),
        (
            ("method=chameleon", "method.recipe=print"),
            "no print here; choose one of lamplight, printed",
        ),
        (("selection.center=fitted",), "choose fit or none"),
        (("method=rag", "retriever.ranker=bm"), "choose bm25"),
        (("method=oppu", "method.form=ragg"), "method.form=ragg: choose plain, rag or pag"),
        (("+method.nothing=1",), "nothing"),
        (("leak=warn",), "choose drop, flag or error"),
        (("data.kind=timed",), "choose user or time"),
        (("limit=0",), "limit=0"),
        (("limit=-3",), "limit=-3"),
        (("budget=5",), "budget.minutes="),
        (("selection=5",), "selection.n_items="),
        (("limit=many",), "limit=many"),
        (("noise_floor=no",), "noise_floor=no: true or false"),
        (
            ("method=chamelon",),
            "method=chamelon: no such method (did you mean chameleon?); there are adapter, aloe",
        ),
        (("task=lamp33",), "task=lamp33: no such task (did you mean lamp3?)"),
        (("limt=4",), "limt: no such setting here (did you mean limit?)"),
        (("method=chameleon", "method.alphap=2"), "(did you mean method.alpha_p?)"),
        (
            ("method=instruct", "method.k=2"),
            "method.k: only other choices of method have this setting",
        ),
        (("method=instruct,rag",), "python -m bench -m method=instruct,rag"),
        (("model=folder",), "model.name=..."),
        (("seed=x",), "seed=x"),
        (("budget.minutes=-1",), "budget.minutes=-1"),
        (("protocol.group_size=0",), "protocol.group_size=0"),
        (("method=rag", "method.k=-1"), "method.k=-1"),
        (("method=rag", "method.k=2.5"), "method.k=2.5"),
        (("method=chameleon", "method.svd_center=perhaps"), "method.svd_center=perhaps"),
        (("method=oppu", "base=instruct"), "base.kind=instruct"),
    ],
)
def test_the_command_line_says_what_there_is_to_choose(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    code, said = run(*TINY, *words, "dry=true", folder=tmp_path)
    assert code == 2, said
    assert told in said and "Traceback" not in said and said.count("\n") == 1
