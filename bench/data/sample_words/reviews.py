"""Words for product reviews (LaMP-3): neutral openings and fillers, and graded verdicts from 1 (worst) to 5 (best)."""

from __future__ import annotations

from bench.data.sample_words import phrases

PRODUCTS = phrases(
    "kettle|toaster|desk lamp|backpack|phone case|yoga mat|water bottle|frying pan|keyboard|wall clock|rain jacket|"
    "tent|board game|coffee grinder|blender|hand mixer|bike light|sleeping bag|office chair|bookshelf|alarm clock|"
    "garden hose|tool box|tea pot|picture frame|travel pillow|umbrella|wallet|suitcase|lunch box|spice rack|door mat|"
    "shower head|space heater|desk fan|bluetooth speaker|webcam|mouse pad|notebook|fountain pen|puzzle|kite|dog bed|"
    "cat tree|bird feeder|flower pot|watering can|screwdriver set|measuring tape|step ladder|laundry basket|cutting "
    "board|rice cooker|waffle iron|salad bowl|baking tray|pepper mill|thermos|camping stove|fishing rod"
)

OPENINGS = (
    "I bought this {product} for {who} {when}.",
    "I ordered this {product} {when} for {who}.",
    "This {product} was meant for {who}.",
    "We have had the {product} since {when_ago}.",
    "I have been using this {product} since {when_ago}.",
    "My old {product} broke, so I ordered this one {when}.",
    "I needed a {product} for {who} and picked this one {when}.",
    "This is my second {product} from this brand.",
    "I got the {product} {when} after reading about it online.",
    "Someone gave me this {product} {when}.",
    "I have owned several of these, and this {product} is the latest.",
    "I use this {product} almost every day.",
    "We tried this {product} for the first time {when}.",
    "After comparing a few shops, I chose this {product} {when}.",
)
WHO = (
    "my sister",
    "my father",
    "our kitchen",
    "the office",
    "my flatmate",
    "the cabin",
    "our daughter",
    "a friend",
    "the garage",
    "my studio",
    "our trip",
    "my grandmother",
    "the guest room",
    "my neighbour",
)
WHEN = ("last month", "in March", "a few weeks ago", "before the holidays", "in early summer", "last autumn", "in May")
WHEN_AGO = ("January", "last spring", "the summer", "my birthday", "last winter", "October", "the start of the year")

FILLERS = (
    "It came in a plain cardboard box.",
    "Delivery took four days.",
    "The colour is dark grey.",
    "I ordered it online in the evening.",
    "It was delivered on a Tuesday.",
    "The manual is in three languages.",
    "It is about as big as in the photo.",
    "There was a card with the warranty inside.",
    "I chose the medium size.",
    "We keep it near the window.",
    "It weighs a little over a kilo.",
    "The shop sent a tracking number.",
    "I keep it on a shelf.",
    "It was packed in brown paper.",
    "It comes in blue and green as well.",
    "",
    "",
    "",
)

# Every grade has adjectives and closing sentences of its own; no phrase contains a phrase of another grade.
RATING_FRAMES = (
    "It is {word}.",
    "Overall it is {word}.",
    "For me it is {word}.",
    "In daily use it is {word}.",
    "The build quality is {word}.",
    "The design is {word}.",
    "The finish is {word}.",
    "Its performance is {word}.",
    "After some time with it, I find it {word}.",
    "To me the result is {word}.",
    "The overall quality is {word}.",
    "My family finds it {word}.",
)
ADJECTIVES: dict[int, tuple[str, ...]] = {
    1: (
        "terrible",
        "awful",
        "dreadful",
        "horrible",
        "appalling",
        "abysmal",
        "atrocious",
        "a disaster",
        "a complete mess",
        "utterly useless",
    ),
    2: (
        "disappointing",
        "poor",
        "underwhelming",
        "unsatisfactory",
        "rather weak",
        "a letdown",
        "not great",
        "worse than expected",
        "a bit shoddy",
        "subpar",
    ),
    3: (
        "okay",
        "average",
        "acceptable",
        "fair",
        "nothing special",
        "middling",
        "passable",
        "so-so",
        "adequate",
        "unremarkable",
    ),
    4: (
        "good",
        "nice",
        "solid",
        "pleasing",
        "very decent",
        "pretty good",
        "likeable",
        "well done",
        "better than expected",
        "quite nice",
    ),
    5: (
        "outstanding",
        "superb",
        "perfect",
        "exceptional",
        "amazing",
        "flawless",
        "brilliant",
        "fantastic",
        "phenomenal",
        "magnificent",
    ),
}
CLOSINGS: dict[int, tuple[str, ...]] = {
    1: (
        "I want my money back.",
        "Avoid it at all costs.",
        "It is the worst one I have ever owned.",
        "Nobody should waste money on this.",
        "I hate it and sent it straight back.",
        "It failed completely on the first day.",
        "It does nothing right.",
        "I threw it away after a week.",
        "I will never touch it again.",
        "I regret every penny.",
    ),
    2: (
        "I expected more for the price.",
        "I would probably not get it again.",
        "It let me down a few times.",
        "I was hoping for something sturdier.",
        "It falls short of what I need.",
        "I am a little annoyed with it.",
        "There are too many small faults.",
        "I wish I had picked another one.",
        "It could be a lot better.",
        "It bothers me more than it helps.",
    ),
    3: (
        "It does the job and no more.",
        "I neither like nor dislike it.",
        "It has as many pluses as minuses.",
        "I feel neutral about it.",
        "It works, but there is nothing to get excited about.",
        "There are ups and downs.",
        "It is neither cheap nor fancy.",
        "I have no strong opinion either way.",
        "It will do for now.",
        "It sits in the middle of the pack.",
    ),
    4: (
        "I am happy with it.",
        "I would buy another.",
        "I like using it.",
        "It works well nearly every time.",
        "I would recommend it to a friend.",
        "Only a tiny detail could be nicer.",
        "It was money well spent.",
        "I am pleased that I chose it.",
        "It does what I hoped for.",
        "It makes my day a little easier.",
    ),
    5: (
        "I love everything about it.",
        "It is the best one I have ever owned.",
        "I could not be happier.",
        "I have already bought three more as gifts.",
        "I would give it ten stars if I could.",
        "It exceeded all my hopes.",
        "I cannot imagine life without it.",
        "Everyone should own one.",
        "It is worth every penny and more.",
        "I am in awe of it.",
    ),
}
