"""Tables, made of a record's rows: for the console, and in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from .matrices import KAPPA, KINDS
from .programs import GEMM

_CASE = ("routine", "dtype", "n", "rhs", "devices", "tile", "matrix", "series")
_WIDTHS = (8, 10, 7, 4, 7, 5, 12, 15)


def matrix(row: dict[str, Any]) -> str:
    """What A was, with its condition number where that is not the usual one."""
    kind = row.get("matrix", KINDS[0])
    unusual = kind != "diagonal" and row.get("kappa", KAPPA) != KAPPA
    return f"{kind} {row['kappa']:g}" if unusual else kind


def series(row: dict[str, Any]) -> str:
    """The name of the series, and whether jaxmg was called within a ``jit``."""
    return f"{row['series']}, jit" if row.get("jit", False) else str(row["series"])


def _left(row: dict[str, Any]) -> str:
    named = {**row, "matrix": matrix(row), "series": series(row)}
    cells = ("-" if named[name] is None else str(named[name]) for name in _CASE)
    return " ".join(
        cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    )


def _titles() -> str:
    return _left({name: name for name in _CASE})


def heading() -> str:
    """The titles of `line`'s columns."""
    return _titles() + f" {'median ms':>10} {'min ms':>10} {'GF/s':>8} {'residual':>9}"


def line(row: dict[str, Any]) -> str:
    """A row of the record."""
    if row["status"] != "ok":
        first, *rest = row["message"].splitlines() or [""]
        status = row["status"].replace("_", " ")
        return f"{_left(row)} {status}: {first}{' ...' if rest else ''}"
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
    title = f"{_titles()} / {'baseline':<11} {'median':>10} {'min':>10} {'times as fast':>13}"
    return "\n".join(["time of jaxmg / time of the baseline", title, *lines])


def counts(row: dict[str, Any]) -> bool:
    """Whether a row has times of a routine: products of matrices are other work."""
    return row["status"] == "ok" and row["series"] != GEMM


def ceilings(record: dict[str, Any]) -> dict[int, float]:
    """By case: the rate that all its devices reach with GEMM together, in GF/s."""
    return {
        row["case"]: row["gflops"]
        for row in record["rows"]
        if row["series"] == GEMM and row["status"] == "ok"
    }


def shares_of_gemm(record: dict[str, Any]) -> str:
    """Rates in units of what all devices of the case reach with GEMM together; empty without."""
    ceiling = ceilings(record)
    lines = [
        f"{_left(row)} {row['gflops']:10.1f} {of:10.1f} {row['gflops'] / of:6.2f}"
        for row in record["rows"]
        if (of := ceiling.get(row["case"])) is not None and counts(row)
    ]
    if not lines:
        return ""
    title = f"{_titles()} {'GF/s':>10} {'P x GEMM':>10} {'ratio':>6}"
    return "\n".join(["rate / rate of P x GEMM, all devices at the same time", title, *lines])


def stages(record: dict[str, Any]) -> str:
    """The seconds of each stage, and their shares of the sum; empty where nobody noted them."""
    lines = []
    for row in record["rows"]:
        seconds = row.get("stage_seconds", {})
        lines += [
            f"{_left(row)} {name:<24} {1e3 * time:10.2f} {time / sum(seconds.values()):6.2f}"
            for name, time in seconds.items()
        ]
    if not lines:
        return ""
    title = f"{_titles()} {'stage':<24} {'ms':>10} {'share':>6}"
    return "\n".join(["stages of one more run each", title, *lines])


def markdown(record: dict[str, Any]) -> str:
    """The whole record: where it was measured, and a line for each row."""
    environment = record["environment"]
    devices = ", ".join(f"{kind['count']} x {kind['kind']}" for kind in environment["devices"])
    versions = ", ".join(f"{name} {environment['versions'][name]}" for name in ("jaxmg", "jax"))
    lines = [
        f"Suite {record['suite']}, {record['started']}, {devices}, {versions}, revision "
        f"{environment['revision'] or 'unknown'}.",
        "",
        "| routine | dtype | n | rhs | devices | matrix | series | T_A | median ms "
        "| with arrays ms | GF/s | of P x GEMM | residual | times as fast |",
        "|---|---|--:|--:|--:|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    ceiling = ceilings(record)
    lines += [f"| {' | '.join(_cells(row, ceiling))} |" for row in record["rows"]]
    return "\n".join(lines)


def _cells(row: dict[str, Any], ceiling: dict[int, float]) -> list[str]:
    names = ("routine", "dtype", "n", "rhs", "devices", "matrix", "series", "tile")
    named = {**row, "matrix": matrix(row), "series": series(row)}
    left = [_cell(named[name]) for name in names]
    if row["status"] != "ok":
        message = " ".join(row["message"].split()).replace("|", "\\|")
        return [*left, row["status"].replace("_", " "), "", "", "", "", message]
    of_gemm = ceiling.get(row["case"]) if counts(row) else None
    with_arrays = seconds_with_arrays(row)
    return [
        *left,
        f"{1e3 * row['median']:.2f}",
        f"{1e3 * with_arrays:.2f}" if with_arrays is not None else "",
        f"{row['gflops']:.0f}",
        f"{row['gflops'] / of_gemm:.2f}" if of_gemm is not None else "",
        f"{row['residual']:.1e}",
        ", ".join(f"{1 / ratio['median']:.2f} {name}" for name, ratio in row["ratios"].items()),
    ]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def seconds_with_arrays(row: dict[str, Any]) -> float | None:
    """Median of the runs and the making of their operands together; None if that was not timed."""
    if "array_seconds" not in row:
        return None
    runs = zip(row["seconds"], row["array_seconds"], strict=True)
    return statistics.median([sum(run) for run in runs])
