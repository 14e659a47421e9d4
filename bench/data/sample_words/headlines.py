"""Words for news articles and their headlines (LaMP-4): who did what to which plan."""

from __future__ import annotations

from bench.data.sample_words import phrases

ACTORS = phrases(
    "harbour trust|city council|school board|bus company|rail operator|water board|county court|housing office|student "
    "union|farmers' guild|museum board|river authority|parish council|energy firm|tourist office|hospital trust|"
    "planning panel|film society|rowing club|fire brigade|postal union|chess league|port authority|road agency|village "
    "assembly|theatre guild|parks department|market council|health board|election office|airport owner|youth "
    "parliament|sailing school|business chamber|forest service|heritage fund|teachers' union|transport ministry|night "
    "mayor|coast guard"
)
# (third person, base form, gerund)
VERBS = (
    ("delays", "delay", "delaying"),
    ("scraps", "scrap", "scrapping"),
    ("expands", "expand", "expanding"),
    ("approves", "approve", "approving"),
    ("reviews", "review", "reviewing"),
    ("funds", "fund", "funding"),
    ("defends", "defend", "defending"),
    ("restores", "restore", "restoring"),
    ("redesigns", "redesign", "redesigning"),
    ("halts", "halt", "halting"),
    ("relaunches", "relaunch", "relaunching"),
    ("supports", "support", "supporting"),
    ("rejects", "reject", "rejecting"),
    ("simplifies", "simplify", "simplifying"),
)
OBJECTS = phrases(
    "night ferry service|bridge repair plan|market hall project|tram extension|flood wall scheme|library fund|youth "
    "orchestra grant|bike lane network|parking levy|winter shelter scheme|canal festival|free lunch programme|"
    "recycling pilot|airport link|noise limit|tree planting drive|summer carnival|rent subsidy|apprentice scheme|solar "
    "roof plan|clinic merger|beach cleanup|evening school|playground budget|wind farm permit|stadium upgrade|food "
    "truck rule|harbour tunnel|speed limit trial|music venue grant|dog park proposal|street light upgrade|fishing "
    "quota|swimming pool contract|night bus trial|allotment plan|village broadband deal|bell tower appeal|camping ban|"
    "voucher programme"
)
OPENINGS = phrases(
    "After a long meeting on {day},|In a short statement on {day},|To the surprise of many residents,|Following weeks "
    "of talks,|With little warning,|At a crowded hearing on {day},|As widely expected,|Before an audience of "
    "reporters,|Late on {day},|In a letter sent on {day},"
)
SAYS = phrases(
    "announced that it will|said it will|confirmed that it will|declared that it will|told reporters it will"
)
DETAILS = phrases(
    "Work starts in {month}.|Critics want a second opinion.|A public meeting follows in {month}.|Supporters cheered "
    "outside.|The cost is not yet known.|Opponents have until {month} to respond.|Nobody expected a quick decision.|"
    "The move had been discussed since {month}.|Details will be published in {month}.|Local shops gave a mixed "
    "reaction.|The vote was close.|Two members left the room in protest.|A final report is due in {month}.|Neighbours "
    "hope for calm."
)
MONTHS = phrases("January|February|March|April|May|June|July|August|September|October|November|December")
# {actor} {does} {do} {doing} {object}: words of the event; {n}: the writer's favourite number
FORMS: dict[str, str] = {
    "plain": "{actor} {does} {object}",
    "why": "why {actor} {does} {object}",
    "how": "how {actor} could {do} {object}",
    "question": "should {actor} {do} {object}?",
    "number": "{n} reasons {actor} {does} {object}",
    "colon": "{doing} {object}: inside {actor}",
}
PREFIXES = ("", "Opinion: ", "Exclusive: ", "Analysis: ", "Update: ")
