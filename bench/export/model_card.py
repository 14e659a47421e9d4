"""The README of exported adapters: how to load them,
how a prompt is rendered, how an answer ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Formatter

from bench.errors import InputError
from bench.export.source_cell import Base, SourceCell
from bench.lm.spec import ModelSpec
from bench.terminal import escape
from bench.types import Item, Message, Personalization, Query, User


def example(cell: SourceCell, base: Base, personal: Personalization) -> str:
    """A prompt as the model reads it, with `<names>` in place of all that is a user's.

    Raises InputError where the recorded prompts do not fit the recorded task.
    """
    from bench.lm.prompt_text import rendered

    try:
        messages = _messages(cell, personal)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, re.error) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{cell.folder / 'config.yaml'}: task and method make no prompt ({problem})"
        ) from error
    return rendered(messages, base.template)


def _messages(cell: SourceCell, personal: Personalization) -> tuple[Message, ...]:
    task = cell.task
    items: tuple[Item, ...] = ()
    if cell.history != "none":
        items = tuple(Item(n, {name: f"<{name} {n}>" for name in task.fields}) for n in ("1", "2"))
    slots = {name: f"<{name}>" for _, name, _, _ in Formatter().parse(task.input_template) if name}
    asked = task.input_template.format(**slots)
    query = Query("1", asked, task.query_text(asked))
    made = Personalization(
        text={name: f"<{name}>" for name in personal.text},
        items=None if personal.items is None else items[: len(personal.items)],
    )
    return cell.method.request(task, User("1", items, (query,)), query, made).messages


def readme(
    cell: SourceCell, base: Base, personal: Personalization, kinds: Mapping[str, str]
) -> str:
    """How the adapters are used outside of the harness."""
    what = {name: escape.markdown(str(value)) for name, value in cell.record["cell"].items()}
    model = cell.record["model"]
    weights = escape.markdown(model["weights"])
    loader = "AutoModelForSeq2SeqLM" if base.seq2seq else "AutoModelForCausalLM"
    adapted = (
        ""
        if base.patch is None
        else 'model = PeftModel.from_pretrained(model, "base").merge_and_unload()\n'
    )
    source, dtype = json.dumps(base.source), json.dumps(model["dtype"])
    first = next(iter(kinds))
    belongs = _BASE if base.patch is not None else "The adapters belong to the model as it is."
    rows = "\n".join(f"| `adapters/{id}` | {kind} |" for id, kind in kinds.items())
    return f"""# Adapters of {escape.markdown(cell.name)}

From a Lamplight cell: method {what["method"]}, task {what["task"]}, model {what["model"]}
({weights}), base {what["base"]}, protocol {what["protocol"]}, seed {what["seed"]},
key {escape.markdown(cell.record["key"])}.

| folder | kind |
|---|---|
{rows}

`users.json` says which user has which adapter (null: none, the base answers). Adapters learn from
a user's texts: treat them, and that file, as personal data.

## Load

```python
from peft import PeftModel
from transformers import AutoTokenizer, {loader}

tokenizer = AutoTokenizer.from_pretrained({source})
model = {loader}.from_pretrained({source}, dtype={dtype})
{adapted}model = PeftModel.from_pretrained(model, "adapters/{first}").eval()
```

{belongs}{_copy(base.spec, model["weights"])}

## Prompt

{_rendering(base)} At most {model["max_prompt_tokens"]} tokens, of which history lines
share {model["history_tokens"]}: long lines are shortened, and the question never is. With names in
place of a user's texts (as many history lines as the method selects):

{_fenced(example(cell, base, personal))}

## Answer

{_decoding(cell)}
"""


_BASE = """`base/` adapts the model to the task. The adapters were made on top of it, so it is
merged first, as above. It is a LoRA of its own so that the adapters stay as small, and of the
kind, as the method made them."""
_CHAT = """One user turn through the tokenizer's chat template, with `add_generation_prompt=True`.
The text is tokenized with `add_special_tokens=False`, after one beginning-of-text token if the
model has one and the template sets none."""
_PLAIN = "Plain text without trailing space, tokenized with the tokenizer's own special tokens."


def _rendering(base: Base) -> str:
    """How messages become a prompt, with what the template is given besides them."""
    if base.template is None:
        return _PLAIN
    values = json.dumps(base.template.values, ensure_ascii=False)
    given = f" Its settings: `{values}`." if base.template.values else ""
    opening = base.template.around.opening
    begun = f" The answer is begun with `{json.dumps(opening)}`." if opening else ""
    return _CHAT + given + begun


def _copy(spec: ModelSpec, weights: str) -> str:
    """What to know where the cell read a quantized copy of the model,
    carried by a Python package.
    """
    kind, _, package = spec.source.partition(":")
    if kind != "package" or weights.startswith("hub:"):
        return ""
    return (
        "\n\nThe cell read a quantized copy of that model, from the package "
        f"{escape.markdown(weights)}: on the original's weights logits differ\na little. "
        "Its folder, for `from_pretrained`:\n"
        f"`python -c \"from bench.lm.load import unpacked; print(unpacked('{package}'))\"`"
    )


def _decoding(cell: SourceCell) -> str:
    """Decoding and stop rule in words."""
    how, tokens = cell.decoding, cell.task.max_new_tokens
    if how.rule == "likelihood":
        labels = escape.markdown(", ".join(cell.task.labels))
        return (
            "The answer is the label of the highest total log-probability, end token included, of:"
            f" {labels}."
        )
    drawn = f"sampled (temperature {how.temperature}, top-p {how.top_p}, top-k {how.top_k})"
    rule = "greedy" if how.rule == "greedy" else drawn
    label = (
        " or as soon as it is a label that no longer label begins with,"
        if how.stop_at_label
        else ""
    )
    return (
        f"Decoding is {rule}, at most {tokens} new tokens. An answer ends at the end token,{label}"
        " or at the first\nline break behind its first word; it is the first line, without space"
        " around it."
    )


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text,
    so that none can end it.
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
