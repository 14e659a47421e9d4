"""Maps of how alike the patches of users are (OPPU, figure 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.report.base_results import Tables
from bench.report.grid_head import head
from bench.report.style import finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def maps_of(tables: Tables, maps: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Cosines of every two users' patches, a map for A, B and BA of each cell.

    `maps`: by the cell's name.
    """
    shown = [(cell, kind, matrix) for cell, kinds in maps.items() for kind, matrix in kinds.items()]
    if not shown:
        return None
    import numpy as np

    figure, axes = panels(len(shown), columns=3, width=3.1, height=2.9)
    for axis, (cell, kind, matrix) in zip(axes, shown, strict=True):
        values = np.array(matrix, dtype=float)
        image = axis.imshow(
            values,
            cmap="cividis",
            vmin=min(0.0, float(values.min())),
            vmax=1,
            interpolation="nearest",
        )
        apart = values[~np.eye(len(values), dtype=bool)]
        middle = (
            f"{np.median(apart):.2f} ({apart.min():.2f} to {apart.max():.2f})"
            if apart.size
            else "one user"
        )
        axis.set_title(f"{cell}: {kind}\nmedian {middle}", fontsize=8)
        axis.grid(False)
        axis.set_xlabel("user")
        figure.colorbar(image, ax=axis, shrink=0.8)
    note = (
        "Cosine per shared tensor, mean over tensors, of every two users; medians are of different"
        " users. The paper's range is about 0.4 to 0.7 (figure 7)."
    )
    return finish(figure, tables.experiment.title, [*head(tables), note], legend=False)
