"""Maps of how alike the patches of users are (OPPU, figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.runs import Place, Run
from bench.report.style import finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = (
    "Cosine per shared tensor, mean over tensors, of every two users; medians are of different"
    " users. The paper's range is about 0.4 to 0.7 (figure 7)."
)


@dataclass(frozen=True)
class SimilarityMap:
    """Cosines of every two users' patches of one cell, in one kind of tensor (A, B or BA).

    `rows`: [users, users].
    """

    cell: str
    kind: str
    rows: Sequence[Sequence[float]]


def similarity(tables: Tables) -> Figure | None:
    """A map for A, B and BA of each cell; None if no cell has users' patches."""
    maps = _maps(tables)
    if not maps:
        return None
    figure, axes = panels(len(maps), columns=3, width=3.1, height=2.9)
    for axis, cosines in zip(axes, maps, strict=True):
        _draw(figure, axis, cosines)
    return finish(figure, tables.experiment.title, [*head(tables), NOTE], legend=False)


def _maps(tables: Tables) -> list[SimilarityMap]:
    from bench.report.similarity import of_cell

    maps: dict[tuple[str, str], SimilarityMap] = {}
    for (place, arm), runs in tables.results.cells.items():
        for run in runs:
            content = of_cell(run.folder) if run.is_ok and run.folder else None
            name = _name(arm, place, run, several=len(runs) > 1)
            for kind, rows in content["kinds"].items() if content else ():
                maps[name, kind] = SimilarityMap(name, kind, rows)
    return list(maps.values())


def _name(arm: str, place: Place, run: Run, *, several: bool) -> str:
    words = [arm, *(value for _, value in place)]
    if several:
        words.append(f"seed {run.seed}")
    return ", ".join(words)


def _draw(figure: Figure, axis: Any, cosines: SimilarityMap) -> None:
    import numpy as np

    from bench.report.similarity import of_others

    values = np.array(cosines.rows, dtype=float)
    image = axis.imshow(
        values,
        cmap="cividis",
        vmin=min(0.0, float(values.min())),
        vmax=1,
        interpolation="nearest",
    )
    apart, middle = of_others(values), "one user"
    if apart.size:
        middle = f"{np.median(apart):.2f} ({apart.min():.2f} to {apart.max():.2f})"
    axis.set_title(f"{cosines.cell}: {cosines.kind}\nmedian {middle}", fontsize=8)
    axis.grid(False)
    axis.set_xlabel("user")
    figure.colorbar(image, ax=axis, shrink=0.8)
