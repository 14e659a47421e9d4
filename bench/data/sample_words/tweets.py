"""Words for tweets (LaMP-7): plain sentences, and what a person's habits turn them into."""

from __future__ import annotations

from bench.data.sample_words import phrases

# each activity with the hashtag some people would put behind it
ACTIVITIES: dict[str, str] = {
    "watch the new cooking show": "#cooking",
    "see the football match": "#football",
    "bake bread with my cousin": "#baking",
    "clean the whole flat": "#cleaning",
    "study for the chemistry exam": "#examweek",
    "visit my grandparents": "#family",
    "try the noodle place downtown": "#noodles",
    "practise the guitar": "#guitar",
    "walk the dog by the river": "#dogs",
    "finish the last chapter": "#reading",
    "paint the kitchen yellow": "#diy",
    "go camping by the lake": "#camping",
    "queue for the concert tickets": "#concert",
    "repair my old bike": "#bikelife",
    "meet my friends from school": "#friends",
    "cook dinner for ten people": "#dinner",
    "start the morning run again": "#running",
    "watch the final episode": "#tvnight",
    "pack for the beach": "#beach",
    "swim before work": "#swimming",
    "learn a bit of Italian": "#italian",
    "play board games with the neighbours": "#gamenight",
    "buy a present for my mother": "#gifts",
    "take the early train to the coast": "#trainlife",
    "sleep until noon": "#sleep",
    "plant tomatoes on the balcony": "#garden",
    "drive to the mountains": "#mountains",
    "sing at the wedding": "#wedding",
    "move to the new office": "#officelife",
    "get a haircut": "#hair",
}
PLANS = phrases(
    "I am going to {activity} {time}|I want to {activity} {time}|I really have to {activity} {time}|We are going to "
    "{activity} {time}|I am going to {activity} with you {time}|Your brother and I want to {activity} {time}|Please "
    "tell people that we are going to {activity} {time}|I still have to {activity} {time}|You have to {activity} with "
    "me {time}"
)
TIMES = phrases("tomorrow|tonight|this weekend|today|tomorrow morning|before tomorrow night")
FEELINGS = phrases(
    "I am so {mood}|it is going to be so {quality}|you sound so {mood}|your idea is so {quality}|everyone is so {mood}|"
    "the weather is so {quality}|you said it is so {quality}|people are so {mood}"
)
MOODS = phrases("happy|tired|excited|nervous|proud|bored|busy|sleepy|ready|hungry|curious|relaxed")
QUALITIES = phrases("good|nice|lovely|weird|cool|crazy|strange|great|odd|wild|special|perfect")
LINKS = phrases("because|and|but|because honestly|and I think")

# groups of short forms: a person uses all forms of a group or none; longer phrases first
SHORT_FORMS: dict[str, tuple[tuple[str, str], ...]] = {
    "you": (("your", "ur"), ("you", "u"), ("are", "r")),
    "gonna": (("going to", "gonna"), ("want to", "wanna"), ("have to", "gotta")),
    "time": (("tomorrow", "tmrw"), ("tonight", "2nite"), ("weekend", "wknd"), ("today", "2day")),
    "because": (("because", "bc"), ("people", "ppl"), ("please", "pls"), ("really", "rly"), ("and", "n")),
    "im": (("I am", "im"), ("it is", "its")),
}
STRETCHED = ("so", "soooo")
ENDINGS = ("!!", "...", "!!!", "", " ~")
TAILS = phrases("|:)|<3|lol|haha|xoxo|😂|🎉|❤️|😭|✨|#hashtag")
