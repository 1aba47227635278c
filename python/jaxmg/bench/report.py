"""Tables for the console, made of a record's rows."""

from __future__ import annotations

from typing import Any

_CASE = ("routine", "dtype", "n", "rhs", "devices", "tile", "series")
_WIDTHS = (8, 10, 7, 4, 7, 5, 11)


def _left(row: dict[str, Any]) -> str:
    cells = ("-" if row[name] is None else str(row[name]) for name in _CASE)
    return " ".join(
        cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    )


def heading() -> str:
    """The titles of `line`'s columns."""
    return (
        _left({name: name for name in _CASE})
        + f" {'median ms':>10} {'min ms':>10} {'GF/s':>8} {'residual':>9}"
    )


def line(row: dict[str, Any]) -> str:
    """A row of the record."""
    if row["status"] == "failed":
        first, *rest = row["message"].splitlines() or [""]
        return f"{_left(row)} failed: {first}{' ...' if rest else ''}"
    return (
        f"{_left(row)} {1e3 * row['median']:10.2f} {1e3 * row['min']:10.2f} {row['gflops']:8.1f} "
        f"{row['residual']:9.1e}"
    )


def ratios(record: dict[str, Any]) -> str:
    """How long jaxmg takes for each case, in units of its baselines; empty without baselines."""
    lines = [
        f"{_left(row)} / {name:<11} {ratio['median']:10.2f} {ratio['min']:10.2f} "
        f"{1 / ratio['median']:13.2f}"
        for row in record["rows"]
        for name, ratio in row["ratios"].items()
    ]
    if not lines:
        return ""
    title = (
        f"{_left({name: name for name in _CASE})} / {'baseline':<11} {'median':>10} {'min':>10} "
        f"{'times as fast':>13}"
    )
    return "\n".join(["time of jaxmg / time of the baseline", title, *lines])


def shares_of_gemm(record: dict[str, Any]) -> str:
    """Rates in units of what all devices of the case reach with GEMM together; empty without."""
    gemm = {
        row["case"]: row
        for row in record["rows"]
        if row["series"] == "gemm" and row["status"] == "ok"
    }
    lines = [
        f"{_left(row)} {row['gflops']:10.1f} {of['gflops']:10.1f} "
        f"{row['gflops'] / of['gflops']:6.2f}"
        for row in record["rows"]
        if (of := gemm.get(row["case"])) is not None and row is not of and row["status"] == "ok"
    ]
    if not lines:
        return ""
    title = f"{_left({name: name for name in _CASE})} {'GF/s':>10} {'P x GEMM':>10} {'ratio':>6}"
    return "\n".join(["rate / rate of P x GEMM, all devices at the same time", title, *lines])
