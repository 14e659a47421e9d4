"""How fast LaMP prompts are answered: ours against plain Hugging Face `generate`, what patches add
to ours, and what it saves to read each prompt once.

    python benchmarks/answering.py --limit 64                                       # the embedded sample
    python benchmarks/answering.py --data FOLDER --task lamp4 --limit 200 --base ADAPTED_BASE.safetensors
    python benchmarks/answering.py --model tiny --limit 8 --patches 3 --results /tmp/small.json             # seconds
    python benchmarks/answering.py --limit 0 --patches 0 --task lamp4 --readings 64 --histories 3        # readings alone

The baseline takes 16 prompts at a time in the file's order, padded on the left, writes up to 200
new tokens greedily and cuts the answer at its first line afterwards. Both sides get the same token
ids and the same weights. In float32 all answers must be equal; in bfloat16 padding and neighbours
change roundings, and the record counts the answers that differ.

Patches are of the shapes of OPPU's adapters (rank 8 on q and v) and of CHAMELEON's edit (rank 2 on
five `down_proj`), with B = 0: the answers, and with them the work, are those of the model alone,
and what differs is what it costs to apply them. The arms take turns in every round; the times are
medians over the rounds, and so are the ratios to `none` of the same round. The harness fills its
batches by tokens. In the arms `in one batch` the first --patches prompts stand in a single one,
each with its own patch (read in passes of like length, as always, and written together), and are
compared with the same batch without patches.

With --readings and --histories a generation task's prompts are answered and their golds scored
(readings.py).
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import readings
import torch
from idle_patches import adapter, edit
from setting import (
    count_option,
    frame,
    load,
    named_task,
    option_parser,
    read_users,
    retriever,
    synchronize,
    written,
)

from bench.lm import batches
from bench.lm.model import LM
from bench.lm.patch import Patch
from bench.lm.prefill import padded
from bench.types import Personalization, Request, User
from methods.rag import RAG

BATCH = 16
NEW_TOKENS = 200
SINGLE = " in one batch"


def prompts(args: Namespace, users: Sequence[User], limit: int) -> list[Request]:
    """The first questions of the users in the file's order, with `k` retrieved items in each."""
    task, method = named_task(args.task), RAG(retriever(args), k=args.k)
    personals = method.adapt(None, task, users, Personalization(), None)  # type: ignore[arg-type]
    requests = []
    for user, personal in zip(users, personals, strict=True):
        for query in user.queries:
            request = method.request(task, user, query, personal)
            requests.append(replace(request, name=f"{task.name} question {query.id}"))
    return requests[:limit]


def theirs(lm: LM, requests: Sequence[Request]) -> list[str]:
    """Hugging Face `generate`, as one would write it."""
    texts = []
    for at in range(0, len(requests), BATCH):
        rows = [lm.network.encode(request).ids for request in requests[at : at + BATCH]]
        ids, mask = padded(rows, lm.network.pad, lm.network.device, left=True)
        with torch.inference_mode():
            out = lm.network.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=lm.network.pad,
            )
        texts += lm.network.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    return [text.strip().split("\n", 1)[0].strip() for text in texts]


def ours(lm: LM, requests: Sequence[Request]) -> list[str]:
    return [answer.text for answer in lm.answers(requests, max_new_tokens=NEW_TOKENS)]


def single(lm: LM, requests: Sequence[Request]) -> list[str]:
    """All in one batch, however many they are."""
    spec, rows = lm.spec, batches.MAX_ROWS
    lm.network.spec, batches.MAX_ROWS = replace(spec, batch_tokens=sys.maxsize), len(requests)
    try:
        return ours(lm, requests)
    finally:
        lm.network.spec, batches.MAX_ROWS = spec, rows


@dataclass(frozen=True)
class Answers:
    """Answers, and the seconds that they took."""

    texts: list[str]
    seconds: float


def clocked(lm: LM, requests: Sequence[Request], how: Any) -> Answers:
    synchronize()
    begin = time.perf_counter()
    texts = how(lm, requests)
    synchronize()
    return Answers(texts, time.perf_counter() - begin)


def with_patches(lm: LM, requests: Sequence[Request], args: Namespace) -> dict[str, Any]:
    """Seconds of each kind of patch, and its time relative to none."""
    users = [adapter(lm, seed) for seed in range(args.patches)]
    one, edited = users[0], edit(lm)
    arms = {
        "none": requests,
        "shared LoRA": [replace(request, patches=(one,)) for request in requests],
        "shared edit": [replace(request, patches=(edited,)) for request in requests],
        "mixed LoRAs": [
            replace(request, patches=(users[at % len(users)],))
            for at, request in enumerate(requests)
        ],
    }
    arms |= {f"{name}{SINGLE}": arms[name][: args.patches] for name in ("none", "mixed LoRAs")}
    times: dict[str, list[float]] = {name: [] for name in arms}
    texts: dict[str, list[str]] = {}
    for number in range(args.repeats):
        order = list(arms)[number % len(arms) :] + list(arms)[: number % len(arms)]
        for name in order:
            how = single if name.endswith(SINGLE) else ours
            answers = clocked(lm, arms[name], how)
            texts[name] = answers.texts
            times[name].append(answers.seconds)
    without = {name: "none" + SINGLE * name.endswith(SINGLE) for name in arms}
    return {
        name: {
            "seconds": median(spent),
            "rounds": spent,
            "relative_to_none": median(
                mine / none for mine, none in zip(spent, times[without[name]], strict=True)
            ),
            "answers_as_with_none": same(texts[name], texts[without[name]]),
        }
        for name, spent in times.items()
    }


def same(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of equal answers."""
    return 1 - differing(one, other) / len(one)


def differing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many answers differ."""
    count = 0
    for text, other_text in zip(one, other, strict=True):
        count += text != other_text
    return count


def main(words: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__, "answering")
    count_option(parser, "limit", 100, "prompts")
    parser.add_argument(
        "--base",
        type=Path,
        help="a task-adapted base (safetensors) to merge into the weights first",
    )
    count_option(parser, "patches", 100, "users whose patches are mixed")
    count_option(parser, "repeats", 5, "rounds with patches, and of readings")
    count_option(
        parser,
        "readings",
        0,
        "prompts of a generation task to answer and to score, in one reading and in two",
    )
    count_option(parser, "histories", 0, "users with ten questions behind one history, likewise")
    args = parser.parse_args(words)
    if args.limit < args.patches:
        parser.error(
            f"--limit {args.limit}: fewer prompts than --patches {args.patches}, so that not all"
            " are mixed"
        )
    record = measured(args)
    written(record, table(record), args.results)
    compared = [record] if args.limit else []
    different = sum(
        part["different_answers"] for part in (*compared, *record.get("readings", {}).values())
    )
    if record["weights"] == "float32" and different:
        sys.exit(f"{different} answers differ in float32, where all must be equal")


def measured(args: Namespace) -> dict[str, Any]:
    users = read_users(args)
    lm = load(args.model, args.dtype, users)
    if args.base:
        lm.adopt(Patch.load(args.base), args.base.stem)
    record: dict[str, Any] = {
        "what": "answering LaMP prompts: ours against Hugging Face generate; the cost of patches;"
        " one reading against two",
        "weights": str(next(lm.network.model.parameters()).dtype).removeprefix("torch."),
    }
    if args.limit:
        record |= against_generate(lm, prompts(args, users, args.limit), args)
    if args.readings or args.histories:
        record["readings"] = in_one_reading(lm, args)
    return record | frame(
        args,
        base=bool(args.base),
        patches=args.patches,
        repeats=args.repeats,
        readings=args.readings,
        histories=args.histories,
        new_tokens=NEW_TOKENS,
        batch_of_generate=BATCH,
        most_rows_of_ours=batches.HELD * batches.MAX_ROWS,
    )


def against_generate(lm: LM, requests: Sequence[Request], args: Namespace) -> dict[str, Any]:
    if len(requests) < args.patches:
        sys.exit(
            f"--patches {args.patches}: the split has {len(requests)} prompts, too few to mix"
            " them all"
        )
    ours(lm, requests[:2])
    theirs(lm, requests[:2])
    generated = clocked(lm, requests, theirs)
    answered = clocked(lm, requests, ours)
    tokens = sum(len(lm.network.encode(request).ids) for request in requests)
    return {
        "prompts": len(requests),
        "prompt_tokens": tokens,
        "seconds": {"generate": generated.seconds, "ours": answered.seconds},
        "prompt_tokens_per_second": {
            "generate": tokens / generated.seconds,
            "ours": tokens / answered.seconds,
        },
        "ratio": generated.seconds / answered.seconds,
        "equal_answers": same(answered.texts, generated.texts),
        "different_answers": differing(answered.texts, generated.texts),
        "patches": with_patches(lm, requests, args),
    }


def in_one_reading(lm: LM, args: Namespace) -> dict[str, Any]:
    task = named_task(args.task)
    if task.labels:
        sys.exit(f"--readings, --histories: {task.name} has labels; give a task that writes texts")
    users = read_users(args, golds=True)
    sets: dict[str, readings.Asked] = {}
    if args.readings:
        golds = [str(query.gold) for user in users for query in user.queries]
        asked = prompts(args, [user.hidden() for user in users], args.readings)
        sets["answer and gold"] = readings.Asked(asked, golds[: args.readings])
    if args.histories:
        asked_behind = readings.shared_sets(task, users, args.histories)
        sets["ten questions behind one history"] = asked_behind
    return readings.rows(lm, task, sets, args.repeats)


def table(record: dict[str, Any]) -> str:
    machine = record["machine"]
    device = machine.get("device") or machine["processor"]
    lines = [f"{record['asked']['model']} ({record['weights']}) on {device}"]
    if "ratio" in record:
        lines.append(f"{record['prompts']} prompts, {record['prompt_tokens']} tokens")
        for name, rate in record["prompt_tokens_per_second"].items():
            seconds = record["seconds"][name]
            lines.append(f"{name:<14}{seconds:>9.2f} s{rate:>10.0f} prompt tokens/s")
        lines.append(
            f"ratio {record['ratio']:.2f}; {record['different_answers']} of {record['prompts']}"
            " answers differ"
        )
        for name, arm in record["patches"].items():
            lines.append(
                f"{name:<24}{arm['seconds']:>9.2f} s{arm['relative_to_none']:>10.3f} of none; "
                f"{arm['answers_as_with_none']:.0%} of its answers"
            )
    lines += readings.lines(record.get("readings", {}))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
