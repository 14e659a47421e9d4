"""How much faster all CCS probes train at once than one after the other, and whether they end at
the same place.

    OMP_NUM_THREADS=1 python benchmarks/ccs.py
    python benchmarks/ccs.py --layers 30 --pairs 100 --results /tmp/large.json     # the loop takes minutes

The loop is CCS as its authors wrote it: one parameter pair and one optimizer per layer and restart,
run in full. Both sides start from the same probes, see the same normalised rows and have no
held-out folds. The times are float32's; the differences are given for float32 and, from a second
run of both, for float64.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from methods.chameleon.ccs import CCSConfig, CCSResult, ccs, initial_probes
from methods.chameleon.vectors import random_unit


def activations(layers: int, pairs: int, width: int) -> tuple[Tensor, Tensor]:
    """Seeded P and N that share their context, with an offset along one direction."""
    stream = torch.Generator().manual_seed(0)
    shared = torch.randn(layers, pairs, width, generator=stream)
    own = 0.5 * torch.randn(2, layers, pairs, width, generator=stream)
    offset = 3 * random_unit(layers, width, seed=0)[:, None]
    return shared + own[0] + offset, shared + own[1] - offset


def loop(P: Tensor, N: Tensor, config: CCSConfig) -> tuple[Tensor, Tensor]:
    """Theta of the best restart `[layers, width]` and training loss `[layers, restarts]`, one probe
    at a time.
    """
    start = initial_probes(len(P), P.shape[2], config).to(P)
    mean = torch.cat([P, N], dim=1).mean(1, keepdim=True)
    scale = torch.cat([P - mean, N - mean], dim=1).norm(dim=-1).mean(1)[:, None, None]
    thetas, losses = [], []
    for layer, (p, n) in enumerate(zip((P - mean) / scale, (N - mean) / scale, strict=True)):
        fitted = [probe(p, n, start[layer, restart], config) for restart in range(config.restarts)]
        losses.append(torch.stack([loss for _, loss in fitted]))
        thetas.append(fitted[int(losses[-1].argmin())][0])
    return torch.stack(thetas), torch.stack(losses)


def probe(p: Tensor, n: Tensor, start: Tensor, config: CCSConfig) -> tuple[Tensor, Tensor]:
    w, b = torch.nn.Parameter(start[:-1].clone()), torch.nn.Parameter(start[-1].clone())
    optimizer = torch.optim.AdamW([w, b], lr=config.lr, weight_decay=config.weight_decay)

    def loss_and_turn() -> tuple[Tensor, Tensor]:
        g_p, g_n = torch.sigmoid(p @ w + b), torch.sigmoid(n @ w + b)
        loss = ((g_n - (1 - g_p)) ** 2 + torch.min(g_n, g_p) ** config.conf_power).mean()
        return loss, (g_n - g_p).mean().sign()

    for _ in range(config.epochs):
        optimizer.zero_grad()
        torch.autograd.backward(loss_and_turn()[0])
        optimizer.step()
    with torch.no_grad():
        loss, turn = loss_and_turn()
        return turn * w / w.norm(), loss


def seconds_of_batched(P: Tensor, N: Tensor, config: CCSConfig, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        ccs(P, N, config)
        times.append(time.perf_counter() - begin)
    return times


def apart(result: CCSResult, theta: Tensor, loss: Tensor) -> dict[str, float]:
    """The largest difference of any coordinate of the unit thetas, and of any loss."""
    return {
        "theta": (result.theta - theta).abs().max().item(),
        "loss": (result.loss - loss).abs().max().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "layers": 10,
        "restarts": 10,
        "epochs": 400,
        "width": 576,
        "pairs": 60,
        "repeats": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument(
        "--results", type=Path, default=REPO / "benchmarks" / "results" / "ccs.json"
    )
    args = parser.parse_args()

    P, N = activations(args.layers, args.pairs, args.width)
    config = CCSConfig(restarts=args.restarts, epochs=args.epochs, folds=0)
    ccs(P, N, replace(config, epochs=2))  # the first call pays for loading kernels
    batched = seconds_of_batched(P, N, config, args.repeats)
    with_folds = seconds_of_batched(P, N, replace(config, folds=5), 1)[0]
    begin = time.perf_counter()
    single = loop(P, N, config)
    looped = time.perf_counter() - begin
    median = sorted(batched)[len(batched) // 2]
    record = {
        "what": "CCS: all probes at once against one after the other",
        "sizes": {
            name: getattr(args, name) for name in ("layers", "restarts", "epochs", "width", "pairs")
        },
        "seconds": {
            "loop": looped,
            "batched": median,
            "batched_runs": batched,
            "batched_with_5_folds": with_folds,
        },
        "ratio": looped / median,
        "largest_difference": {
            "float32": apart(ccs(P, N, config), *single),
            "float64": apart(
                ccs(P.double(), N.double(), config), *loop(P.double(), N.double(), config)
            ),
        },
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(record, indent=2) + "\n")
    print(table(record))
    print(f"written to {args.results}")


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in info.read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def table(record: dict) -> str:
    sizes, seconds, apart64 = (
        record["sizes"],
        record["seconds"],
        record["largest_difference"]["float64"],
    )
    apart32 = record["largest_difference"]["float32"]
    rows = [
        ("sizes", ", ".join(f"{value} {name}" for name, value in sizes.items())),
        ("one after the other", f"{seconds['loop']:.2f} s"),
        ("all at once", f"{seconds['batched']:.3f} s (median of {len(seconds['batched_runs'])})"),
        (
            "all at once, 5 folds too",
            f"{seconds['batched_with_5_folds']:.3f} s (six times the probes)",
        ),
        ("ratio", f"{record['ratio']:.1f}"),
        (
            "largest difference, float64",
            f"theta {apart64['theta']:.1e}, loss {apart64['loss']:.1e}",
        ),
        (
            "largest difference, float32",
            f"theta {apart32['theta']:.1e}, loss {apart32['loss']:.1e}",
        ),
        ("machine", f"{record['machine']['processor']}, {record['machine']['threads']} thread(s)"),
    ]
    return "\n".join(f"{name:<28} {value}" for name, value in rows)


if __name__ == "__main__":
    main()
