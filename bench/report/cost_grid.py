"""What an experiment's arms cost, and how alike the patches of their users are."""

from __future__ import annotations

from bench.report import footnotes
from bench.report.base_results import Tables
from bench.report.grid_head import axes_of, head, short_names, title
from bench.report.render import Grid
from bench.report.timing import lines

COSTS = (
    (
        "Per tested user, mean over seeds. Bytes: of patches, at two bytes a number. Tokens: in and"
        " out."
    ),
    (
        "Seconds: without loading, adapting the base and scoring; with what results kept from other"
        " cells took when made."
    ),
    "Tokens of such results are counted in the cell that made them.",
    (
        "A gold whose likelihood is worked out behind the reading for its answer counts with the"
        " answer (docs/record.md)."
    ),
)


def costs(tables: Tables) -> Grid:
    """What each arm costs, beside its first metric."""
    axes, rows = axes_of(tables), []
    for (place, arm), one in tables.summaries.items():
        if one.cost is None:
            continue
        metric = next(iter(tables.metrics(place)), "")
        value = one.values.get(metric)
        cost = [
            f"{one.cost.seconds:,.2f}",
            f"{one.cost.fit_seconds:,.2f}",
            f"{one.cost.bytes:,.0f}",
            f"{one.cost.tokens:,.0f}",
        ]
        quality = [metric, f"{value.value:z.3f}" if value else "-"]
        rows.append([*(tables.words(place).get(axis, "") for axis in axes), arm, *quality, *cost])
    return Grid(
        title=f"{title(tables)}: cost beside quality",
        head=[
            *short_names(axes),
            "arm",
            "metric",
            "value",
            "seconds",
            "before the test",
            "bytes",
            "tokens",
        ],
        rows=rows,
        above=head(tables)[:1],
        below=COSTS,
        labels=len(axes) + 2,
    )


def times(tables: Tables) -> Grid:
    """Seconds of training at every place, and the line of each arm: what is answered after so
    little says nothing.
    """
    axes, rows = axes_of(tables), []
    for (place, arm), one in tables.summaries.items():
        cost = (
            [f"{one.cost.fit_seconds:,.2f}", f"{one.cost.tokens:,.0f}"]
            if one.cost
            else [one.problem, ""]
        )
        rows.append([*(tables.words(place).get(axis, "") for axis in axes), arm, *cost])
    fits = [
        f"{one.arm}, {', '.join(value for _, value in one.place)}: {one.fit} ({one.x})"
        for one in lines(tables)
    ]
    return Grid(
        title=title(tables),
        head=[*short_names(axes), "arm", "seconds", "tokens"],
        rows=rows,
        above=[*head(tables), *footnotes.doubts(tables)],
        below=[
            *footnotes.failures(tables),
            *fits,
            *footnotes.rows_named(tables),
            "Per tested user: seconds of training on this machine, tokens in and out.",
        ],
        labels=len(axes) + 1,
    )


def cosines(tables: Tables) -> Grid:
    """How alike two users' patches are: over all pairs of different users,
    for A, B and BA of each cell.
    """
    from bench.report import similarity

    axes, rows = axes_of(tables), []
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            for kind, middle, low, high in (
                similarity.apart(run.folder) if run.folder and run.state == "ok" else ()
            ):
                where = [tables.words(place).get(axis, "") for axis in axes]
                rows.append(
                    [*where, arm, run.seed, kind, *(f"{one:.3f}" for one in (middle, low, high))]
                )
    return Grid(
        title=f"{title(tables)}: cosines of two users' patches",
        head=[*short_names(axes), "arm", "seed", "of", "median", "least", "most"],
        rows=rows,
        above=head(tables)[:1],
        below=[
            "Cosine per shared tensor, mean over tensors. BA is what the model feels; A starts from"
            " noise."
        ],
        labels=len(axes) + 3,
    )
