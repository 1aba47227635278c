"""Pictures of records: times against n as in the paper's figure 3, and fractions of P x GEMM."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._library import ENGINES
from . import report
from ._extras import need
from .baselines import BASELINES
from .suite import OURS

Record = dict[str, Any]
Row = dict[str, Any]
_Points = dict[int, list[float]]  # values by n
_Panels = dict[tuple[str, str], dict[str, tuple[Row, _Points]]]

#: The paper's order; other routines follow.
_ORDER = ("potrs", "potri", "syevd")
#: What jaxmg's curves of one tile and matrix differ in.
_VARIANT = ("devices", "rhs", "jit")
#: jaxmg's colours, for each record that has the same curves: its own tile, and others.
_COLOURS = (("black", "viridis"), ("crimson", "plasma"), ("steelblue", "cool"))
_MARKERS = "os^vDP"
_LINES = {"random": "-", "diagonal": ":", "kernel": "-."}


@dataclasses.dataclass(frozen=True)
class Only:
    """Panels by routine and dtype; no names stand for all."""

    routines: Sequence[str] = ()
    dtypes: Sequence[str] = ()

    def of(self, panels: _Panels) -> _Panels:
        return {
            (routine, dtype): curves
            for (routine, dtype), curves in panels.items()
            if routine in (self.routines or [routine]) and dtype in (self.dtypes or [dtype])
        }


def plot(
    records: Sequence[Record],
    names: Sequence[str],
    path: str | Path,
    arrays: bool,
    only: Only = Only(),
) -> list[Path]:
    """Draws records together: a panel for each routine and dtype, a curve for each series.

    Args:
      records: all that is to be in the pictures.
      names: of the records, for curves that more than one of them has.
      path: where the picture of times goes; its suffix decides the format.
      arrays: whether times include making the operands; rows without that time are left out.
      only: the panels to draw; all, if it does not say.

    Returns:
      The files: `path`, and beside it ``...-efficiency``, where a record has ``gemm``.

    Raises:
      ValueError: there is nothing to draw.
      ImportError: matplotlib is not installed.
    """
    path = Path(path)

    def seconds(record: Record, row: Row) -> float | None:
        return report.seconds_with_arrays(row) if arrays else row["median"]

    def share(record: Record, row: Row) -> float | None:
        of = record["ceilings"].get(row["case"])
        return None if of is None else row["gflops"] / of

    records = [{**record, "ceilings": report.ceilings(record)} for record in records]
    title = "seconds, making the arrays included" if arrays else "seconds"
    times = only.of(_curves(records, names, seconds))
    if not times:
        raise ValueError("plot: expected rows with times, found none")
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path]
    _draw(times, path, title, "log")
    shares = only.of(_curves(records, names, share))
    if shares:
        files.append(path.with_name(f"{path.stem}-efficiency{path.suffix}"))
        _draw(shares, files[-1], "fraction of P x GEMM", "linear")
    return files


def _curves(
    records: Sequence[Record],
    names: Sequence[str],
    value: Callable[[Record, Row], float | None],
) -> _Panels:
    """By routine and dtype: by label a row that stands for the curve, and its points."""
    panels: dict[tuple[str, str], list[tuple[str, Row, float]]] = {}
    for name, record in zip(names, records, strict=True):
        for row in filter(report.counts, record["rows"]):
            y = value(record, row)
            if y is not None:
                # A library's factorisation stands in the panel of the case that asked for it.
                panel = panels.setdefault((_routine_of(record, row), row["dtype"]), [])
                panel.append((name, row, y))
    return {key: _labelled(panels[key]) for key in sorted(panels, key=lambda panel: _place(*panel))}


def _labelled(panel: list[tuple[str, Row, float]]) -> dict[str, tuple[Row, _Points]]:
    """Labels have what differs between the curves of a panel, and no more."""
    ours = [row for _, row, _ in panel if row["series"] == OURS]
    varying = [key for key in _VARIANT if len({row.get(key, False) for row in ours}) > 1]
    variants = sorted({_variant(row) for row in ours})
    matrices = {report.matrix(row) for row in ours}
    owners: dict[tuple[str, int | None], set[str]] = {}
    for name, row, _ in panel:
        owners.setdefault((row["series"], row["tile"]), set()).add(name)
    curves: dict[str, tuple[Row, _Points]] = {}
    for name, row, y in panel:
        words = [row["series"] + (f" T_A={row['tile']}" if row["tile"] else "")]
        # JAX has one device whatever the case has, SciPy the host.
        if "devices" in varying and row["series"] not in BASELINES:
            words.append(f"{row['devices']} devices")
        if "rhs" in varying and row["rhs"] is not None:
            words.append(f"{row['rhs']} rhs")
        if "jit" in varying and row["series"] in ENGINES:
            words.append("jit" if row.get("jit", False) else "no jit")
        if len(matrices) > 1:
            words.append(report.matrix(row))
        many = len(owners[row["series"], row["tile"]]) > 1
        label = ", ".join(words) + (f" ({name})" if many else "")
        of_record = sorted(owners[row["series"], row["tile"]]).index(name)
        variant = variants.index(_variant(row)) if _variant(row) in variants else 0
        of_curve = {**row, "of_record": of_record, "variant": variant}
        _, points = curves.setdefault(label, (of_curve, {}))
        points.setdefault(row["n"], []).append(y)
    return curves


def _variant(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(key, False) for key in _VARIANT)


def _routine_of(record: Record, row: Row) -> str:
    for other in record["rows"]:
        if other["case"] == row["case"] and other["series"] == OURS:
            return str(other["routine"])
    return str(row["routine"])


def _place(routine: str, dtype: str) -> tuple[int, str, str]:
    return _ORDER.index(routine) if routine in _ORDER else len(_ORDER), routine, dtype


def _draw(panels: _Panels, path: Path, y: str, scale: str) -> None:
    matplotlib = need("matplotlib")
    matplotlib.use("Agg")
    plt = need("matplotlib.pyplot")
    rows = -(-len(panels) // 3)
    columns = min(len(panels), 3)
    fig, axs = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 4.2 * rows), squeeze=False, layout="constrained"
    )
    every = [row for curves in panels.values() for row, _ in curves.values()]
    tiles = sorted({row["tile"] for row in every if row["tile"]})
    others = sorted({row["series"] for row in every} - {OURS})
    places = list(axs.flat)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for place, ((routine, dtype), curves) in enumerate(panels.items()):
        ax = places[place]
        for label, (row, points) in curves.items():
            xs = sorted(points)
            ys = [statistics.median(points[n]) for n in xs]
            ax.plot(xs, ys, label=label, **_style(plt, row, tiles, others))
        letter = letters[place] if place < len(letters) else str(place)
        ax.set_title(f"({letter}) {routine}, {dtype}")
        ax.set_xscale("log", base=2)
        ax.set_yscale(scale)
        if scale == "linear":
            ax.set_ylim(0, max(1.0, ax.get_ylim()[1]))
        ax.set_xlabel("N")
        ax.set_ylabel(y)
        ax.grid(True, which="major", alpha=0.3)
    for ax in places[len(panels) :]:
        ax.set_axis_off()
    # One legend for all panels: mostly they have the same curves.
    entries: dict[str, Any] = {}
    for ax in places[: len(panels)]:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    fig.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=min(2 * columns, len(entries)),
        fontsize="small",
        frameon=False,
    )
    fig.savefig(path, dpi=150)
    plt.close(fig)


def _style(plt: Any, row: Row, tiles: list[int], others: list[str]) -> dict[str, Any]:
    """jaxmg: black if it chose its tile, else a colour by tile; its engines have a marker by what
    else differs. Other series have a colour and a marker each, paler with a smaller tile. The line
    says what the matrix is."""
    share = tiles.index(row["tile"]) / max(len(tiles) - 1, 1) if row["tile"] else 1.0
    line = {"linestyle": _LINES.get(row.get("matrix", "random"), "-")}
    variant = _MARKERS[row["variant"] % len(_MARKERS)]
    if row["series"] != OURS:
        place = others.index(row["series"])
        colour = plt.get_cmap("tab10").colors[(place + 1) % 10]
        shape = variant if row["series"] in ENGINES else "s^vD*P"[place % 6]
        marker = {"marker": shape, "markersize": 5}
        if row["of_record"]:
            marker["markerfacecolor"] = "white"
        return {**line, **marker, "color": colour, "alpha": 0.4 + 0.6 * share}
    own, others_map = _COLOURS[row["of_record"] % len(_COLOURS)]
    line["marker"] = variant
    if row["tile"] is None:
        return {**line, "color": own, "linewidth": 2}
    return {**line, "color": plt.get_cmap(others_map)(0.9 * share), "markersize": 3, "linewidth": 1}
