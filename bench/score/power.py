"""What a comparison could have seen: the smallest effect for its users, and the users that an
effect needs.

Both rest on the standard error of the paired difference over users, as it was found. A user, not a
question, is the unit that is drawn: more questions of the same users help less than as many of
others.
"""

from __future__ import annotations

import math

from bench.errors import InputError
from bench.score.intervals import LEVEL, quantile

POWER = 0.8
FEWEST = 6
"""With five users swapped in all ways, no p is below .05."""
MOST = 10**9


def detectable(error: float, freedom: float) -> float:
    """The smallest difference that a two-sided test at .05 finds in
    four of five samples like this one.
    """
    return (quantile(0.5 + LEVEL / 2, freedom) + quantile(POWER, freedom)) * error


def expected_power(effect: float, error: float, freedom: float) -> float:
    """How often a two-sided test at .05 finds a difference of this size, if the standard error of
    the difference is `error`: the share of samples, in (0, 1).
    """
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if effect else 1 - LEVEL
    return float(stdtr(freedom, abs(effect) / error - quantile(0.5 + LEVEL / 2, freedom)))


def users_needed(error: float, users: int, effect: float) -> int:
    """How many users like these `users` (whose difference has this standard error) would show the
    effect.

    Raises InputError for an effect that is not above 0, or where no two users differ, so that
    nothing is known of how much users vary.
    """
    if not (math.isfinite(effect) and effect > 0):
        raise InputError(f"effect {effect}: a difference above 0, such as .02")
    if error <= 0 or users < 2:
        raise InputError(
            "no two users differ here, so how many would be needed is not known; compare more users"
        )

    def seen(count: int) -> bool:
        return detectable(error * math.sqrt(users / count), count - 1) <= effect

    low, high = FEWEST - 1, FEWEST
    while not seen(high):
        low, high = high, 2 * high
        if high > MOST:
            raise InputError(f"effect {effect}: too small to be seen with {MOST:,} users")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
