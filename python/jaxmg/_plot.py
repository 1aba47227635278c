"""A picture of the layouts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._cyclic import cyclic_order, whole

# What the two pictures, half a page wide each, have room for.
_SINGLE_COLUMNS = 128  # lines between columns and rows
_BORDERS = 256  # lines between tiles
_LABELS = 45  # digits of the devices' numbers
_TICKS = 13


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "plot_block_to_cyclic needs matplotlib, which is not installed: "
            'pip install "jaxmg[plot]"'
        ) from None
    return plt


def _device_colours(plt: Any, ndev: int) -> Any:
    """A colour for each device; neighbours differ."""
    if ndev <= 10:
        return plt.get_cmap("tab10").colors[:ndev]
    if ndev <= 20:
        return plt.get_cmap("tab20").colors[:ndev]
    return plt.get_cmap("turbo")(np.linspace(0.05, 0.95, ndev))


def _runs(owner: np.ndarray, tile_of: np.ndarray) -> list[tuple[int, int, int]]:
    """``(first column, end, device)`` of each run of columns of one device and one tile."""
    changes = (np.diff(owner) != 0) | (np.diff(tile_of) != 0)
    borders = [0, *(np.flatnonzero(changes) + 1).tolist(), len(owner)]
    return [(a, b, int(owner[a])) for a, b in itertools.pairwise(borders)]


def plot_block_to_cyclic(N: int, T_A: int, ndev: int, N_rows: int = 8) -> tuple[Any, Any]:
    """Draws which device holds which column, before and after redistribution (paper, figure 1).

    Left the block layout, as JAX shards A: each device holds ``N / ndev`` neighbouring columns.
    Right the 1-D block-cyclic layout of `cyclic_1d`: tiles of `T_A` columns are dealt to the
    devices in turn. Columns are those of the matrix that the solvers see, the transpose of JAX's A:
    they are the rows of A.

    Args:
      N: order of the matrix, a multiple of `ndev`.
      T_A: tile size.
      ndev: number of devices.
      N_rows: how many rows to draw; they are all alike.

    Returns:
      ``(fig, axs)``, a matplotlib figure and its two axes.

    Raises:
      TypeError: one of the numbers is no integer.
      ValueError: `ndev` does not divide `N`, or one of the numbers is not positive.
      ImportError: matplotlib is not installed.

    Example:
      >>> import jaxmg
      >>> fig, axs = jaxmg.plot_block_to_cyclic(N=24, T_A=2, ndev=4)
      >>> fig.savefig("cyclic.png")  # doctest: +SKIP
    """
    given = {"N": N, "T_A": T_A, "ndev": ndev, "N_rows": N_rows}
    numbers = {name: whole("plot_block_to_cyclic", name, value) for name, value in given.items()}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"plot_block_to_cyclic: {name}: expected at least 1, got {value}")
    N, T_A, ndev, N_rows = numbers.values()
    if N % ndev:
        raise ValueError(
            f"plot_block_to_cyclic: N: expected a multiple of the {ndev} devices, got {N}"
        )
    plt = _pyplot()
    from matplotlib.patches import Patch, Rectangle

    n_loc = N // ndev
    tile = min(T_A, n_loc)
    columns = np.arange(N)
    # Storage position of each column: device and place there.
    position = np.empty(N, dtype=int)
    position[cyclic_order(N, ndev, tile)] = columns
    block = _runs(columns // n_loc, np.zeros(N, dtype=int))
    cyclic = _runs(position // n_loc, position % n_loc // tile)
    colours = _device_colours(plt, ndev)

    fig, axs = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
    last = n_loc % tile
    titles = (
        f"Block: {n_loc} columns a device",
        f"1-D block-cyclic: tiles of {tile} in turn" + (f", last round of {last}" if last else ""),
    )
    for ax, runs, title in zip(axs, (block, cyclic), titles, strict=True):
        for first, end, device in runs:
            ax.add_patch(
                Rectangle((first, 0), end - first, N_rows, facecolor=colours[device], linewidth=0)
            )
            if (end - first) * _LABELS >= N * len(str(ndev - 1)):
                place = ((first + end) / 2, N_rows / 2)
                style = {"ha": "center", "va": "center", "color": "white", "fontweight": "bold"}
                ax.text(*place, str(device), **style)
        if N <= _SINGLE_COLUMNS:
            grid = {"color": "white", "linewidth": 0.4, "alpha": 0.6}
            ax.vlines(np.arange(1, N), 0, N_rows, **grid)
            ax.hlines(np.arange(1, N_rows), 0, N, **grid)
        borders = [first for first, _, _ in runs] + [N]
        if len(runs) <= _BORDERS:
            ax.vlines(borders, 0, N_rows, color="white", linewidth=1.6)
        if len(borders) > _TICKS and runs is cyclic:  # then only whole rounds
            borders = [*borders[:-1:ndev], N]
        ax.set_xticks([*borders[: -1 : -(-len(borders) // _TICKS)], N])
        ax.set_yticks([])
        ax.set_xlim(0, N)
        ax.set_ylim(N_rows, 0)
        ax.set_title(title)
        ax.set_xlabel("column of the matrix")
        for side in ax.spines.values():
            side.set_visible(False)
    axs[0].set_ylabel("row")
    fig.suptitle(f"N = {N}, T_A = {T_A}, {ndev} device{'s' if ndev > 1 else ''}")
    if ndev <= 20:
        handles = [Patch(facecolor=colours[d], label=f"device {d}") for d in range(ndev)]
        fig.legend(handles=handles, loc="outside lower center", ncols=min(ndev, 10), frameon=False)
    return fig, axs
