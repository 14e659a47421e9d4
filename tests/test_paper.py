"""The copied numbers of the papers are the papers': their own averages come out of them."""

from statistics import fmean

import pytest

from bench.errors import InputError
from bench.report import paper
from bench.score.metrics import DIRECTION

OPPU, CHAMELEON = "oppu.table1_main", "chameleon.table1_users_with_history"
MATCHED = {
    "nonpers_k0": "oppu_k0",
    "rag_k1": "oppu_k1",
    "rag_k2": "oppu_k2",
    "rag_k4": "oppu_k4",
    "pag_k0": "pag_oppu_k0",
    "pag_k1": "pag_oppu_k1",
}


def number(table, model, *names):
    return paper.find(paper.table(table), names)[model].value


def gain(metric, before, after):
    """Relative gain in per cent; for errors, how much smaller they are."""
    return 100 * (after - before) / before * (1 if DIRECTION[metric] else -1)


@pytest.mark.parametrize(
    ("task", "metric", "mean"),
    [
        ("lamp1", "accuracy", 3.45),
        ("lamp2", "accuracy", 11.90),
        ("lamp3", "mae", 17.34),
        ("lamp5", "rouge1", 3.43),
    ],
)
def test_mean_gain_of_oppu_over_its_matched_columns_is_the_papers(task, metric, mean):
    pairs = [
        [number(OPPU, "llama2", task, metric, column) for column in pair]
        for pair in MATCHED.items()
    ]
    assert fmean(gain(metric, *pair) for pair in pairs) == pytest.approx(mean, abs=0.005)


def test_mean_gain_of_chameleon_over_all_baselines_is_the_papers():
    tasks = {"lamp2": ("accuracy", "f1"), "lamp3": ("mae", "rmse"), "lamp7": ("rouge1", "rougeL")}
    gains = [
        gain(
            metric,
            *(number(CHAMELEON, model, task, metric, column) for column in (baseline, "chameleon")),
        )
        for model in ("mistral", "flan_t5_xxl")
        for task, metrics in tasks.items()
        for metric in metrics
        for baseline in ("instruct", "llm_rec", "aloe")
    ]
    assert len(gains) == 36 and fmean(gains) == pytest.approx(41.2, abs=0.05)


def test_both_sides_of_table_3_are_the_full_method_of_table_1():
    for task, metric in (
        ("lamp2", "accuracy"),
        ("lamp2", "f1"),
        ("lamp3", "mae"),
        ("lamp3", "rmse"),
    ):
        both = number("chameleon.table3_edit_side", "mistral", task, metric, "both")
        assert both == number(CHAMELEON, "mistral", task, metric, "chameleon")


def test_a_number_is_found_by_more_names_than_it_needs_and_never_by_fewer():
    shift = paper.table("oppu.table3_irrelevant_history")
    irrelevant = {"lamp1", "accuracy", "irrelevant"}
    assert paper.find(shift, irrelevant | {"oppu_k1"})["llama2"].value == 0.699
    # of either history
    assert paper.find(shift, irrelevant | {"non_personalized"})["llama2"].value == 0.659
    assert paper.find(shift, {"lamp1", "accuracy", "oppu_k1"}) == {}


def test_a_table_that_is_not_there_is_an_error_with_its_name():
    with pytest.raises(InputError, match=r"there is no oppu\.table9"):
        paper.table("oppu.table9")
    with pytest.raises(InputError, match="prints no values"):
        paper.table("chameleon.setup")
    assert paper.table(None) == ()
