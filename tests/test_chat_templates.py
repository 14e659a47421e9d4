"""Prompts through real chat templates: their turns, their ends, their thoughts, their dates.

The oracle is the template's own rendering of a finished conversation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from templates import NAMES, network_of, source, templated, tiny_with

from bench.errors import InputError
from bench.lm.chat_template import ChatTemplate
from bench.lm.load import tiny
from bench.lm.thoughts import THOUGHTS
from bench.types import Message, Request

ASKED = Message("user", ("Which genre?",))
ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseekv3": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "gemma3": "<end_of_turn>",
    "gemma4": "<turn|>",
    "glm4moe": "<|user|>",
    "gptoss": "<|return|>",
    "lfm2": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "phi3": "<|end|>",
    "qwen3": "<|im_end|>",
    "qwen3_5_think": "<|im_end|>",
}
"""What the models of these templates were trained to write behind an answer."""
ALWAYS_THINK = ("deepseek_r1_distill", "deepseekv3")
"""Templates that open a thought in every prompt, and render none in a finished conversation."""
RAISES = "{{ raise_exception('no turns today') }}"
ALTERNATING = (
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}[assistant] "
)


def text_of(network: Any, *messages: Message) -> str:
    return str(network.encode(Request(messages)).text)


@pytest.mark.parametrize("name", ENDS)
def test_an_answer_ends_as_the_template_ends_it(name: str) -> None:
    network = templated(name)
    end = network.tokenizer.convert_tokens_to_ids(ENDS[name])
    assert network.end == end != network.tokenizer.eos_token_id
    assert network.answer_ids("drama")[-1] == end
    assert end in network.ends


@pytest.mark.parametrize("name", NAMES)
def test_prompt_answer_and_end_are_the_templates_own_conversation(name: str) -> None:
    network = templated(name)
    prompt = network.encode(Request((ASKED,)))
    turns = [{"role": "user", "content": ASKED.text}, {"role": "assistant", "content": "drama"}]
    more = {"role": "user", "content": "And now?"}
    if name in ("idefics3", "llava_next", "smolvlm"):
        turns = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
        more["content"] = [{"type": "text", "text": "And now?"}]

    def whole(conversation: list[Any]) -> list[int]:
        text = network.tokenizer.apply_chat_template(
            conversation,
            chat_template=network.template.source,
            tokenize=False,
            **network.template.values,
        )
        ids = list(network.tokenizer(text, add_special_tokens=False)["input_ids"])
        return ids if ids[0] == prompt.ids[0] else [prompt.ids[0], *ids]

    learnt = [*prompt.ids, *network.answer_ids("drama")]
    if name in ALWAYS_THINK:
        assert prompt.text.endswith("<think>\n\n</think>\n\n")
        learnt = [*network.answer_ids("drama")]
        assert whole(turns)[-len(learnt) :] == learnt
    elif name == "glm4moe":
        # It writes nothing behind an answer; what ends it is the next turn's beginning.
        assert whole([*turns, more])[: len(learnt)] == learnt
    else:
        assert whole(turns)[: len(learnt)] == learnt


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_ends_inside_a_thought(name: str) -> None:
    text = text_of(templated(name), ASKED)
    for opened, closed in THOUGHTS:
        assert text.count(opened) == text.count(closed), text


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_has_one_beginning_and_all_its_turns(name: str) -> None:
    network = templated(name)
    turns = (
        Message("system", ("Be brief.",)),
        ASKED,
        Message("assistant", ("drama",)),
        Message("user", ("And this one?",)),
    )
    prompt = network.encode(Request(turns))
    assert prompt.ids.count(network.tokenizer.bos_token_id) == 1
    at = [prompt.text.index(turn.text) for turn in turns]
    assert at == sorted(at)


@pytest.mark.parametrize("name", NAMES)
def test_tomorrow_prompts_are_todays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Tomorrow:
            return cls(2031, 5, 6)

    today = text_of(templated(name), ASKED)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    text = text_of(network_of(tiny_with(source(name))), ASKED)
    assert text == today and "2031" not in text


@pytest.mark.parametrize(
    ("name", "own", "given"),
    [
        ("llama3_1", "26 Jul 2024", "31 Mar 2026"),
        ("llama3_2", "26 Jul 2024", "31 Mar 2026"),
        ("gptoss", "2025-01-01", "2026-03-31"),
        ("muse_glimmer", None, "2026-03-31"),
    ],
)
def test_the_day_in_a_prompt_is_the_templates_own_or_the_one_given(
    name: str, own: str | None, given: str
) -> None:
    if own:
        assert own in text_of(templated(name), ASKED)
    dated = network_of(tiny_with(source(name)), date="2026-03-31")
    assert given in text_of(dated, ASKED)
    assert (
        dated.spec.identity()["date"] == "2026-03-31"
        and "date" not in templated(name).spec.identity()
    )


def test_settings_of_the_template_reach_it_and_the_identity() -> None:
    network = network_of(tiny_with(source("gptoss")), template={"reasoning_effort": "low"})
    assert "Reasoning: low" in text_of(network, ASKED)
    assert "Reasoning: medium" in text_of(templated("gptoss"), ASKED)
    assert network.spec.identity()["template"] == {"reasoning_effort": "low"}
    unsaid = templated("gptoss").spec.identity()
    assert not {"template", "date", "thinking", "thinking_tokens"} & unsaid.keys()


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("qwen3", {"template": {"enable_thinkin": False}}, "reads no enable_thinkin; it reads"),
        ("qwen3", {"template": {"enable_thinking": True}}, "set model.thinking=on"),
        ("qwen3", {"date": "2025-01-01"}, "writes no date; leave it null"),
        ("gemma3", {"thinking": "on"}, "knows no thoughts"),
        ("qwen3", {"chat": False, "date": "2025-01-01"}, "are of chat templates"),
    ],
)
def test_a_setting_that_the_template_does_not_read_is_refused(
    name: str, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        network_of(tiny_with(source(name)), **changes)
    assert "\n" not in str(refused.value)


def test_the_default_of_the_switch_may_be_said() -> None:
    network = network_of(tiny_with(source("qwen3")), template={"enable_thinking": False})
    assert text_of(network, ASKED) == text_of(templated("qwen3"), ASKED)


def test_a_model_without_a_template_asks_for_plain_prompts() -> None:
    model, tokenizer = tiny_with(None, signs=set())
    with pytest.raises(InputError, match=r"no chat template.*model\.chat=false.*chat_template\.ji"):
        network_of((model, tokenizer))
    assert text_of(network_of((model, tokenizer), chat=False), ASKED) == ASKED.text


def test_of_several_templates_one_is_named() -> None:
    named = {"rag": source("llama3"), "tool_use": source("gemma3")}
    with pytest.raises(InputError, match=r"chat_template: NAME.*rag, tool_use"):
        network_of(tiny_with(named, signs=set()))
    chosen = network_of(tiny_with(named, signs=set()), template={"chat_template": "tool_use"})
    assert "<start_of_turn>model" in text_of(chosen, ASKED)
    default = network_of(tiny_with(named | {"default": source("phi3")}, signs=set()))
    assert text_of(default, ASKED).endswith("<|assistant|>\n")


def test_turns_that_a_template_refuses_are_joined_or_an_error() -> None:
    network = network_of(tiny_with(ALTERNATING, signs=set()))
    twice = (Message("system", ("Be brief.",)), ASKED, Message("user", ("Answer in a word.",)))
    assert text_of(network, *twice).startswith(
        "[user] Be brief.\n\nWhich genre?\n\nAnswer in a word.\n"
    )
    with pytest.raises(InputError, match=r"does not take the turns user \(no turns today\)") as e:
        network_of(tiny_with(RAISES, signs=set()))
    assert "\n" not in str(e.value)


def test_a_template_that_drops_a_turn_is_refused() -> None:
    first = "{{ messages[0]['content'] }}"
    network = network_of(tiny_with(first, signs=set()))
    assert text_of(network, ASKED) == ASKED.text
    with pytest.raises(InputError, match="does not take the turns user, assistant, user"):
        text_of(network, ASKED, Message("assistant", ("drama",)), ASKED)


def test_the_tiny_models_template_writes_nothing_more_than_before() -> None:
    template = ChatTemplate(tiny("llama")[1], "tiny")
    assert template.around.opening == template.around.lead == "" and template.values == {}
