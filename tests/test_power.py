"""What a comparison could have seen: the formula against simulation,
and the command that asks it.
"""

import math

import numpy as np
import pytest
from made import cell

from bench.errors import InputError
from bench.report.__main__ import main
from bench.score.metrics import Scored
from bench.score.power import detectable, expected_power, users_needed
from bench.score.stats import paired

STARS = ["1", "2", "3", "4", "5"]


def arms(users, effect, rng, each=3):
    """Two arms that rate `each` questions of a user;
    how much arm a errs less differs by user and by question.
    """
    level, gain = rng.uniform(1, 3, users), rng.normal(effect, 0.4, users)
    found = ([], [])
    for user in range(users):
        for query in range(each):
            base = level[user] + rng.normal(0, 0.2)
            for rows, error in zip(
                found, (base + gain[user] + rng.normal(0, 0.5), base), strict=True
            ):
                values = {
                    "mae": error,
                    "mse": error**2,
                    "lenient_mae": error,
                    "lenient_mse": error**2,
                }
                rows.append(Scored(f"{user}-{query}", str(user), 1.0, 2.0, 2.0, values))
    return found


@pytest.mark.parametrize("users", [24, 60])
def test_four_of_five_comparisons_find_what_they_are_said_to_detect(users):
    """The error of so many users is known here: of the mean of 3 differences, over users."""
    rng, runs = np.random.default_rng(users), 400
    effect = detectable(math.sqrt((0.4**2 + 0.5**2 / 3) / users), users - 1)
    found = [
        paired("rating", STARS, *arms(users, effect, rng), draws=199, seed=run)["mae"]
        for run in range(runs)
    ]
    # three standard errors
    assert 0.74 <= np.mean([one.p_permutation <= 0.05 for one in found]) <= 0.86
    assert np.mean([one.detectable for one in found]) == pytest.approx(effect, rel=0.05)


def test_so_many_users_as_are_said_to_be_needed_find_the_effect():
    rng = np.random.default_rng(3)
    pilot = paired("rating", STARS, *arms(2000, 0.0, rng), draws=1)["mae"]
    needed = users_needed(pilot.error, pilot.users, 0.2)
    runs = [
        paired("rating", STARS, *arms(needed, 0.2, rng), draws=199, seed=run)["mae"]
        for run in range(250)
    ]
    assert 0.72 <= np.mean([one.p_permutation <= 0.05 for one in runs]) <= 0.88
    assert users_needed(pilot.error, pilot.users, 0.1) == pytest.approx(4 * needed, rel=0.05)


def test_more_questions_of_the_same_users_are_not_more_users():
    """Users who differ a lot: ten questions each detect little less than three."""
    few, many = (
        paired("rating", STARS, *arms(60, 0.0, np.random.default_rng(1), each=each), draws=1)[
            "mae"
        ].detectable
        for each in (3, 30)
    )
    assert 0.7 * few < many < few


def test_the_need_is_the_least_number_that_detects_the_effect():
    for effect in (0.01, 0.05, 0.3, 5.0):
        needed = users_needed(0.1, 24, effect)
        error = 0.1 * math.sqrt(24)
        assert detectable(error / math.sqrt(needed), needed - 1) <= effect
        assert needed == 6 or detectable(error / math.sqrt(needed - 1), needed - 2) > effect


@pytest.mark.parametrize(
    ("error", "effect", "said"),
    [
        (0.1, 0, "above 0"),
        (0.1, math.nan, "above 0"),
        (0.0, 0.1, "no two users differ"),
        (0.1, 1e-9, "too small"),
    ],
)
def test_what_cannot_be_known_is_said(error, effect, said):
    with pytest.raises(InputError, match=said):
        users_needed(error, 24, effect)


def test_the_command_says_the_users_for_each_metric(tmp_path, capsys):
    keys = [cell(tmp_path, "lamp3", "rag", skill=skill).name for skill in (0.8, 0.3)]
    assert (
        main(["power", keys[0][:6], keys[1][:6], "--effect", ".02", "--results", str(tmp_path)])
        == 0
    )
    out = capsys.readouterr().out
    for metric in ("mae", "rmse"):
        words = next(line for line in out.splitlines() if line.startswith(metric)).split()
        assert (
            words[-3] == "20"
            and 0 < float(words[-2]) < 1
            and int(words[-1].replace(",", "")) > 1000
        )
    same = [keys[0], keys[0]]
    assert main(["power", *same, "--effect", ".02", "--results", str(tmp_path)]) == 0
    assert "not known: no two users differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["power", "a"],
        ["power", "a", "b"],
        ["power", "a", "b", "--effect", "-1"],
        ["compare", "a", "b", "--effect", ".1"],
    ],
)
def test_an_incomplete_question_is_one_line_and_exit_code_2(tmp_path, capsys, words):
    for skill, key in ((0.8, "a"), (0.3, "b")):
        folder = cell(tmp_path, "lamp3", "rag", skill=skill)
        folder.rename(folder.with_name(key * 16))
    assert main([*words, "--results", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and not said.out


def test_expected_power_is_four_of_five_at_what_is_detectable():
    for error, freedom in ((0.1, 23), (0.02, 59)):
        effect = detectable(error, freedom)
        assert expected_power(effect, error, freedom) == pytest.approx(0.8, abs=1e-6)
        assert expected_power(-effect, error, freedom) == pytest.approx(0.8, abs=1e-6)


def test_expected_power_grows_with_the_effect_and_with_the_users():
    found = [expected_power(effect, 0.1, 23) for effect in (0.05, 0.1, 0.2, 0.4)]
    assert found == sorted(found) and found[0] < 0.1 and found[-1] > 0.95
    assert expected_power(0.2, 0.1, 23) < expected_power(0.2, 0.05, 95)
