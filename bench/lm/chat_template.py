"""The chat template of a model: what it writes before, between and behind the turns of a prompt.

All of it is found by rendering. A short conversation is rendered with its answer and without it,
and whatever stands around the answer is what the model has learnt to read and to write there. No
model is known by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from jinja2 import TemplateError

from bench.errors import InputError
from bench.lm import template_source
from bench.lm.thoughts import SWITCHES, THOUGHTS, common_end, empty_thought
from bench.lm.turns import FORMS, Form, Turn, as_blocks, turn
from bench.types import Message

Thinking = Literal["off", "on"]

FALLBACK_DAY = date(2025, 1, 1)
"""The day in the prompts of templates that have none of their own, unless `model.date` says one."""

_ASKED, _ANSWER, _NEXT, _THOUGHT = "Question", "Harbor", "Follow", "Lantern"
"""Words that no template writes by itself: what stands around them is the template's own."""

_REFUSALS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""What a template raises that does not take the turns it was given."""


@dataclass(frozen=True)
class Surroundings:
    """What a template writes around the last answer.

    `opening`: between the request for an answer and its first word. `lead`: spaces there, which a
    tokenizer joins to that word. `behind`: what follows the answer at the end of a conversation,
    and in the midst of one.
    """

    opening: str = ""
    lead: str = ""
    behind: tuple[str, ...] = ()


class ChatTemplate:
    """A tokenizer's chat template with its settings.

    `name`: the model's, for errors. `values`: `model.template`. `day`: `model.date`, or None for
    the template's own.
    """

    def __init__(
        self,
        tokenizer: Any,
        name: str,
        values: Mapping[str, Any] | None = None,
        *,
        day: date | None = None,
        thinking: Thinking = "off",
    ) -> None:
        self._tokenizer, self._name = tokenizer, name
        chosen = dict(values or {})
        source = self._chosen(chosen.pop("chat_template", None))
        self._read = template_source.settings(source)
        self._check(chosen, thinking)
        switches = {name: thinking == "on" for name in SWITCHES if name in self._read}
        self.values = switches | self._day_values(source, day) | chosen
        self._blocks = False
        self._forms: dict[tuple[str, ...], Form] = {}
        self.day: str | None = None if day is None else day.isoformat()
        """The day in prompts; None if it is the template's own, or there is none."""
        self.source = self._dated(source, day)
        self._form(("user",))
        self.around = self._surroundings()
        self.close, self.closed = self._thought_end()
        self.thinking = thinking
        if thinking == "on" and not self.closed:
            raise InputError(
                f"model.thinking=on: the chat template of {name} knows no thoughts; leave it off"
            )

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that a model reads, up to where its answer begins (or its thought).

        Raises InputError if the template refuses the turns, or leaves one out.
        """
        form = self._form(tuple(message.role for message in messages))
        turns = [{"role": message.role, "content": message.text} for message in messages]
        text = self._render(form(turns), asking=True)
        for message in messages:
            if message.text.strip() not in text:
                raise InputError(
                    f"{self._name}: its chat template leaves out a part of the {message.role}'s"
                    " turn; set model.chat=false, or give another template with the model"
                )
        return text + self._suffix(text)

    def literals(self) -> set[str]:
        """The template's own markers, which no user's text may hold."""
        turns = [turn("system", "System"), turn("user", _ASKED), turn("assistant", _ANSWER)]
        signs = template_source.literals(self.source)
        for conversation in (turns, turns[1:]):
            try:
                text = self._render(conversation, asking=True)
            except _REFUSALS:
                continue
            signs |= set(template_source.MARKER.findall(text))
        return signs

    def _chosen(self, name: str | None) -> str:
        """The template's source, if there are several that of this name."""
        templates = self._tokenizer.chat_template
        if not templates:
            raise InputError(
                f"{self._name}: the tokenizer has no chat template. A model without instruction"
                " tuning reads plain prompts: set model.chat=false. One with it has the file"
                " chat_template.jinja: copy it beside the weights"
            )
        if isinstance(templates, str):
            templates = {"default": templates}
        name = "default" if name is None else name
        if name not in templates:
            raise InputError(
                f"{self._name}: no chat template is called '{name}'; choose one with"
                f" 'model.template={{chat_template: NAME}}', of {', '.join(sorted(templates))}"
            )
        return str(templates[name])

    def _check(self, values: Mapping[str, Any], thinking: Thinking) -> None:
        unread = sorted(values.keys() - self._read)
        if unread:
            read = sorted(self._read - {"messages", "add_generation_prompt", "raise_exception"})
            raise InputError(
                f"model.template: the chat template of {self._name} reads no {', '.join(unread)};"
                f" it reads {', '.join(read) or 'no settings'}"
            )
        for switch in SWITCHES:
            if switch in values and bool(values[switch]) != (thinking == "on"):
                raise InputError(
                    f"model.template sets {switch}, and model.thinking={thinking} says otherwise:"
                    f" set model.thinking={'off' if thinking == 'on' else 'on'}"
                )

    def _day_values(self, source: str, day: date | None) -> dict[str, str]:
        if day is None:
            return {}
        values = template_source.day_settings(source, day)
        if not values and not template_source.asks_clock(source):
            raise InputError(
                f"model.date={day}: the chat template of {self._name} writes no date; leave it null"
            )
        return values

    def _dated(self, source: str, day: date | None) -> str:
        """The template with one day for ever: today's would make tomorrow's prompts others."""
        if not template_source.asks_clock(source):
            return source
        if day is not None:
            return template_source.at(source, day)
        own = template_source.without_clock(source)
        try:
            self._tokenizer.apply_chat_template(
                [turn("user", _ASKED)], chat_template=own, tokenize=False, **self.values
            )
        except _REFUSALS:
            self.day = FALLBACK_DAY.isoformat()
            return template_source.at(source, FALLBACK_DAY)
        return own

    def _render(self, turns: Sequence[Turn], *, asking: bool) -> str:
        if self._blocks:
            turns = [given | {"content": as_blocks(given["content"])} for given in turns]
        return str(
            self._tokenizer.apply_chat_template(
                list(turns),
                chat_template=self.source,
                add_generation_prompt=asking,
                tokenize=False,
                **self.values,
            )
        )

    def _form(self, roles: tuple[str, ...]) -> Form:
        """How turns of these roles are given to the template: as they are if it takes them so.

        Tried out on words of our own, so that it never depends on a user's text.
        """
        if roles in self._forms:
            return self._forms[roles]
        words = [f"{_ASKED}{index}x" for index in range(len(roles))]
        turns = [turn(role, word) for role, word in zip(roles, words, strict=True)]
        reason = "it leaves a part of them out"
        # Templates of models that see images read a text as a block beside others.
        for self._blocks in (False, True):
            for form in FORMS:
                try:
                    text = self._render(form(turns), asking=True)
                except _REFUSALS as error:
                    reason = str(error)
                    continue
                if all(word in text for word in words):
                    self._forms[roles] = form
                    return form
        raise InputError(
            f"{self._name}: its chat template does not take the turns {', '.join(roles)}"
            f" ({reason}); set model.chat=false, or give another template with the model"
        )

    def _surroundings(self) -> Surroundings:
        asked, answer = turn("user", _ASKED), turn("assistant", _ANSWER)
        asking = self._render([asked], asking=True)
        try:
            whole = self._render([asked, answer], asking=False)
            more = self._render([asked, answer, turn("user", _NEXT)], asking=False)
        except _REFUSALS:
            return Surroundings()
        before, _, behind = whole.partition(_ANSWER)
        between = more.partition(_ANSWER)[2].partition(_NEXT)[0]
        opening = before.removeprefix(asking) if before.startswith(asking) else ""
        # Spaces stay with the answer: apart from it they would be a token of their own, which no
        # model has read there.
        spoken = opening.rstrip(" ")
        return Surroundings(spoken, opening[len(spoken) :], (behind, between))

    def _thought_end(self) -> tuple[str, str]:
        """What a template writes between a thought and its answer, and the part of it that says
        that the thought is over. Empty if it knows no thoughts.
        """
        thought = turn("assistant", _ANSWER) | {"reasoning_content": _THOUGHT}
        try:
            text = self._render([turn("user", _ASKED), thought], asking=False)
            before = self._render([turn("user", _ASKED), turn("assistant", _ANSWER)], asking=False)
        except _REFUSALS:
            text = before = ""
        if _THOUGHT in text:
            between = text.partition(_THOUGHT)[2].partition(_ANSWER)[0]
            opening = self.around.opening
            if opening.strip() and between.endswith(opening):
                return between, opening.strip()
            common = common_end(between, before.partition(_ANSWER)[0]).strip()
            return between, common or between.strip()
        for opened, closed in THOUGHTS:
            if opened in self.source or closed in self.source:
                return f"\n{closed}\n\n", closed
        return "", ""

    def _suffix(self, text: str) -> str:
        """What stands between the template's request for an answer and the answer itself."""
        if self.thinking == "on":
            return ""
        # Some templates open every answer with a thought: here it is an empty one.
        return empty_thought(text) or self.around.opening
