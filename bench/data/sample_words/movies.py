"""Words for movie descriptions (LaMP-2): who, what they do, and the cue phrases of each tag."""

from __future__ import annotations

from bench.data.sample_words import phrases

HEROES = phrases(
    "A widowed lighthouse keeper|A young surgeon|A retired bus driver|A piano tuner|A stubborn farmer|A village nurse|"
    "A night watchman|A tired accountant|A gifted mechanic|A former champion rower|A quiet librarian|A travelling "
    "salesman|A shy schoolteacher|A wandering carpenter|A harbour pilot|A newly hired cook|A disgraced journalist|A "
    "baker's daughter|A clockmaker's son|A weary translator|A beekeeper|An ageing violinist|An ambitious lawyer|An "
    "orphaned shepherd|An island postman|An unlucky gardener|An exiled painter|A radio announcer|A river guide|A "
    "junior clerk|A mountain doctor|A seamstress|A runaway heiress|A coal miner|A careful locksmith|A ballet teacher|A "
    "failed inventor|A ferry captain|A student of botany|A young widow"
)

DEEDS = phrases(
    "comes home after twenty years abroad|takes a job in a fading seaside hotel|inherits an empty house by a lake|"
    "agrees to look after a stranger's child|moves to a valley where nobody visits|is asked to repair an old mill|"
    "joins a small crew for one season|finds an unopened parcel on the doorstep|meets a rival from school days|leaves "
    "the capital with a single suitcase|rents a room above a closed theatre|must cross the country within a week|"
    "receives a visit from a long-lost cousin|starts again in a northern port|loses everything in one afternoon|"
    "promises to keep a neighbour's secret|buys a train ticket without a destination|gets stranded at a mountain "
    "station|shelters three travellers overnight|is hired by a powerful family|returns a borrowed boat too late|goes "
    "looking for a missing brother|spends the winter in an abandoned school|accepts an invitation from an old teacher|"
    "tries to save the family orchard|discovers a map in the attic|shares a flat with five strangers|takes the blame "
    "for a friend|has until spring to sell the estate|wakes up in an unfamiliar town|follows a stray dog to a remote "
    "village|opens a small shop against all advice|turns down a promotion|is sent to close a distant branch office|"
    "volunteers for a task nobody wants|keeps the keys to a locked tower"
)

FRAMES = (
    "The film blends {cues}.",
    "What follows combines {cues}.",
    "Expect {cues}.",
    "The story brings together {cues}.",
    "Along the way, there is room for {cues}.",
    "It all leads to {cues}.",
    "The script builds on {cues}.",
    "Viewers are treated to {cues}.",
    "The two hours are filled with {cues}.",
    "The director relies on {cues}.",
    "The rest is made of {cues}.",
    "At its heart, the film offers {cues}.",
)

# in the order of LaMP's instruction; no cue contains a cue of another tag
CUES: dict[str, tuple[str, ...]] = {
    "sci-fi": (
        "a drifting starship",
        "a rogue android",
        "a mining colony on Mars",
        "a broken time machine",
        "a signal from deep space",
        "a cloned crew member",
        "an alien probe",
        "a voyage beyond the galaxy",
        "a laboratory of thinking robots",
        "a wormhole near Saturn",
        "a hologram that remembers",
        "a stolen teleport device",
    ),
    "based on a book": (
        "a plot lifted from a bestseller",
        "characters known from the novel",
        "a faithful adaptation of the paperback",
        "chapters taken from a famous book",
        "dialogue straight from the printed page",
        "a screenplay adapted from a short story",
        "scenes familiar to readers of the novel",
        "the author's original prose",
        "a tale first told in print",
        "a literary source in three volumes",
        "a narrator borrowed from the novel",
        "an adaptation of a prize-winning book",
    ),
    "comedy": (
        "a string of silly mix-ups",
        "slapstick in every room",
        "a hilarious wedding toast",
        "running gags about a goat",
        "goofy misunderstandings",
        "cheerful banter",
        "a ridiculous disguise",
        "laugh-out-loud family dinners",
        "a clumsy but lovable sidekick",
        "witty one-liners",
        "a prank that snowballs",
        "playful jokes at the office",
    ),
    "action": (
        "a breathless car chase",
        "rooftop fistfights",
        "explosions along the harbour",
        "a daring helicopter rescue",
        "a race to defuse a bomb",
        "high-speed motorcycle stunts",
        "a commando raid",
        "a shootout on a moving train",
        "hand-to-hand combat",
        "a jailbreak under gunfire",
        "a parachute jump behind enemy lines",
        "relentless pursuit scenes",
    ),
    "twist ending": (
        "a final reveal nobody sees coming",
        "a last scene that overturns everything",
        "a shocking surprise at the close",
        "a secret kept until the final minute",
        "an ending that changes the whole story",
        "a closing turn that fools the audience",
        "a hidden identity exposed at the end",
        "a last-minute reversal",
        "clues that only add up in the finale",
        "an unexpected final confession",
        "a finale that flips the plot",
        "one last deception before the credits",
    ),
    "dystopia": (
        "a city under total surveillance",
        "a ruthless future regime",
        "food rations under curfew",
        "a walled state that bans music",
        "forbidden memories in a police state",
        "a bleak world after the collapse",
        "citizens known only by numbers",
        "a ministry that rewrites the past",
        "the last free district",
        "an oppressive caste system",
        "a society that outlaws dreams",
        "propaganda on every wall",
    ),
    "dark comedy": (
        "morbid jokes at a funeral",
        "gallows humour",
        "a botched burial played for laughs",
        "deadpan gags about death",
        "a cheerfully cynical undertaker",
        "bleak laughter in a hospice",
        "an absurd accidental killing",
        "wickedly black humour",
        "a farce over a missing corpse",
        "grim punchlines",
        "a macabre practical joke",
        "a bitterly funny inheritance feud",
    ),
    "classic": (
        "golden-age studio glamour",
        "black-and-white photography",
        "a timeless performance still quoted today",
        "the grand style of old cinema",
        "a landmark scene of the silent era",
        "an unforgettable old-fashioned score",
        "images every film student knows",
        "vintage orchestral music",
        "the elegance of the 1940s screen",
        "a restored print of the cherished original",
        "legendary stars of early cinema",
        "the poise of a bygone film era",
    ),
    "psychology": (
        "a therapist's private notes",
        "buried childhood trauma",
        "a mind slowly coming apart",
        "obsession turning into paranoia",
        "repressed memories",
        "a study of guilt",
        "an unsettling split personality",
        "hypnosis sessions",
        "the inner voices of a recluse",
        "a struggle with compulsive thoughts",
        "mind games between siblings",
        "a clinical portrait of anxiety",
    ),
    "fantasy": (
        "a dragon under the mountain",
        "an enchanted forest",
        "a wizard's apprentice",
        "a curse cast by a witch",
        "a talking fox spirit",
        "a kingdom of elves",
        "a magic mirror",
        "a sword that grants wishes",
        "a hidden door to a fairy realm",
        "goblins in the cellar",
        "a spellbound castle",
        "a prophecy of the moon queen",
    ),
    "romance": (
        "a slow-burning love affair",
        "a first kiss in the rain",
        "letters between two lovers",
        "a tender courtship",
        "a summer sweetheart",
        "a hesitant marriage proposal",
        "two hearts drawn together",
        "a reunion with a first love",
        "longing glances across a ballroom",
        "a passionate elopement",
        "a shy declaration of love",
        "a couple falling for each other",
    ),
    "thought-provoking": (
        "difficult questions about free will",
        "a moral dilemma without easy answers",
        "ideas that linger for days",
        "a meditation on time",
        "a debate about what makes us human",
        "philosophical conversations",
        "a puzzle about the meaning of truth",
        "reflections on mortality",
        "an argument the viewer must settle",
        "quiet scenes that invite reflection",
        "an open question about justice",
        "a challenge to common beliefs",
    ),
    "social commentary": (
        "a sharp look at class divisions",
        "the hardships of migrant workers",
        "inequality in a booming city",
        "racism in a small town",
        "a critique of consumer culture",
        "corruption in public housing",
        "the gap between rich folk and poor",
        "an indictment of the media",
        "prejudice at a private school",
        "a portrait of the unemployed",
        "anger at corporate greed",
        "the human cost of gentrification",
    ),
    "violence": (
        "a brutal gang war",
        "bloody revenge",
        "graphic fight wounds",
        "a savage knife attack",
        "cold-blooded executions",
        "merciless beatings",
        "a massacre at the mill",
        "blood-soaked streets",
        "cruel street brawls",
        "a vicious murder spree",
        "a gory showdown",
        "the brutality of prison guards",
    ),
    "true story": (
        "events that really happened",
        "a real court case from 1962",
        "the actual diary of a survivor",
        "archive footage of the real people",
        "a true account of a shipwreck",
        "the life of a real inventor",
        "facts reported in the newspapers of 1931",
        "the words of actual witnesses",
        "a documented rescue at sea",
        "the real events of one winter",
        "the real career of a forgotten athlete",
        "an authentic wartime episode",
    ),
}
