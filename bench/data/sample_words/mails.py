"""Words for mails and their subjects (LaMP-6): a request about a document and its deadline."""

from __future__ import annotations

from bench.data.sample_words import phrases

NAMES = phrases(
    "Anna|Tom|Priya|Marek|Lucy|Omar|Ines|Paul|Greta|Sam|Yuki|Elena|Jonas|Maya|Victor|Nora|Felix|Rosa|Ivan|Clara"
)
VERBS = phrases("review|approve|sign|update|print|forward|check|send|finish|proofread|scan|archive")
OBJECTS = phrases(
    "budget draft|travel form|meeting notes|client contract|holiday plan|sales report|training schedule|safety "
    "checklist|press release|invoice list|project timeline|office lease|survey results|job posting|expense sheet|team "
    "roster|product brochure|audit summary|seating plan|supplier offer|conference slides|grant proposal|user manual|"
    "monthly newsletter|floor plan|risk register|marketing brief|test protocol|visitor list|delivery note|guest "
    "invitation|website copy|design sketch|hiring plan|insurance policy|repair estimate"
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
OPENINGS = phrases(
    "I hope your week is going well.|thanks for your help yesterday.|it was good to see you at lunch.|I am back in the "
    "office today.|just a short note before the weekend.|we are almost done here.|the client called this morning.|I "
    "have one small favour to ask.|things are busy on our side.|sorry for writing so late."
)
REQUESTS = phrases(
    "Could you {verb} the {object} before {day}?|Would you mind if I asked you to {verb} the {object} by {day}?|I need "
    "you to {verb} the {object} by {day}.|It would help if you could {verb} the {object} before {day}."
)
FILLERS = phrases(
    "The file is in the shared folder.|Call me if anything is unclear.|There is no need to reply.|I can explain the "
    "details by phone.|The others have done their part.|I will take care of the rest.|A short confirmation is enough.|"
    "Let me know if you need more time."
)
SIGNOFFS = phrases("Best, {sender}|Thanks, {sender}|Regards, {sender}|Many thanks, {sender}")
# {verb} {object} {day}: words of the request
FORMS: dict[str, str] = {
    "plain": "{verb} {object}",
    "please": "please {verb} {object}",
    "question": "can you {verb} {object}?",
    "due": "{object} due {day}",
    "reminder": "reminder to {verb} {object}",
    "deadline": "{verb} {object} by {day}",
}
PREFIXES = ("", "[Action] ", "[Urgent] ", "FYI: ", "Quick one: ")
ENDINGS = ("", "!", " - thanks", " :)")
