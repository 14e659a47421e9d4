"""What an experiment's arms cost, and how alike the patches of their users are."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import footnotes
from bench.report.base_results import Tables
from bench.report.grid_head import axes_of, head, labels, short_names, title
from bench.report.render import Grid
from bench.report.runs import Run, place_words
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
    for (place, arm), summary in tables.summaries.items():
        if summary.cost is None:
            continue
        metric = tables.first_metric(place)
        value = summary.values.get(metric)
        quality = f"{value.value:z.3f}" if value else "-"
        rows.append(
            [
                *labels(tables, place, axes),
                arm,
                metric,
                quality,
                f"{summary.cost.seconds:,.2f}",
                f"{summary.cost.fit_seconds:,.2f}",
                f"{summary.cost.bytes:,.0f}",
                f"{summary.cost.tokens:,.0f}",
            ]
        )
    columns = ["arm", "metric", "value", "seconds", "before the test", "bytes", "tokens"]
    return Grid(
        title=f"{title(tables)}: cost beside quality",
        head=[*short_names(axes), *columns],
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
    for (place, arm), summary in tables.summaries.items():
        seconds, tokens = summary.problem, ""
        if summary.cost:
            seconds, tokens = f"{summary.cost.fit_seconds:,.2f}", f"{summary.cost.tokens:,.0f}"
        rows.append([*labels(tables, place, axes), arm, seconds, tokens])

    fits = []
    for line in lines(tables):
        fits.append(f"{line.arm}, {place_words(line.place)}: {line.fit} ({line.x})")
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
    axes, rows = axes_of(tables), []
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            where = [*labels(tables, place, axes), arm, run.seed]
            rows += [[*where, *words] for words in _cosines(run)]
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


def _cosines(run: Run) -> Iterator[list[str]]:
    """A row for A, B and BA; none without users' patches."""
    from bench.report import similarity

    if run.is_ok and run.folder:
        for cosines in similarity.apart(run.folder):
            numbers = (cosines.median, cosines.least, cosines.most)
            yield [cosines.kind, *(f"{number:.3f}" for number in numbers)]
