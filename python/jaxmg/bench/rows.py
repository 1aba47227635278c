"""Rows of a record, made of what was measured."""

from __future__ import annotations

import statistics
from typing import Any

from .._library import ENGINES
from .outcome import Outcome
from .routines import ROUTINES
from .series import Series
from .suite import OURS, Case

Row = dict[str, Any]


def row_of_series(case: Case, number: int, series: Series) -> Row:
    """Of what was measured in this process."""
    row = _row(
        case,
        number,
        series.name,
        tile=series.tile,
        status=_status(series.failure, series.out_of_memory),
        message=series.failure,
        warmup_seconds=series.warmups.runs,
        seconds=series.times.runs,
        residual=series.residual,
    )
    flops = ROUTINES[case.routine].flops(case)
    row["gflops"] = flops / row["median"] / 1e9 if row["median"] else None
    if case.arrays and series.times.arrays:
        row["array_seconds"] = series.times.arrays
    if series.stage_seconds is not None:
        row["stage_seconds"] = series.stage_seconds
    if case.donate and series.name in ENGINES:
        row["donated"] = True
    if case.jit and series.name in ENGINES:
        row["jit"] = True
    return row


def row_of_outcome(case: Case, number: int, name: str, outcome: Outcome) -> Row:
    """Of what a program measured, or was measured apart from the cases."""
    row = _row(
        case,
        number,
        name,
        routine=outcome.routine,
        n=outcome.n,
        rhs=outcome.rhs,
        devices=outcome.devices,
        tile=outcome.tile,
        status=_status(outcome.failure, outcome.out_of_memory),
        message=outcome.failure,
        warmup_seconds=list(outcome.warmup_seconds),
        seconds=list(outcome.seconds),
        residual=outcome.residual,
    )
    row["gflops"] = outcome.gflops
    if outcome.array_seconds:
        row["array_seconds"] = list(outcome.array_seconds)
    if outcome.device_gflops is not None:
        row["device_gflops"] = list(outcome.device_gflops)
    return row


def _status(failure: str | None, out_of_memory: bool) -> str:
    if failure is None:
        return "ok"
    return "out_of_memory" if out_of_memory else "failed"


def _row(case: Case, number: int, series: str, **measured: Any) -> Row:
    seconds = measured["seconds"]
    return {
        "case": number,
        "routine": case.routine,
        "dtype": case.dtype,
        "n": case.n,
        "rhs": case.rhs,
        "devices": case.devices,
        "matrix": case.matrix,
        "kappa": case.kappa,
        "series": series,
        **measured,
        "median": statistics.median(seconds) if seconds else None,
        "min": min(seconds, default=None),
        "gflops": None,
        "ratios": {},
    }


def add_ratios(rows: list[Row]) -> None:
    """To the rows of jaxmg's own engine: their times over each other series', over its best row's
    where it has several."""
    best: dict[str, Row] = {}
    for row in rows:
        # A product of matrices is other work; its rate is what compares (`report`).
        if row["series"] == OURS or row["status"] != "ok" or row["routine"] == "gemm":
            continue
        if row["series"] not in best or row["median"] < best[row["series"]]["median"]:
            best[row["series"]] = row
    for ours in rows:
        if ours["series"] == OURS and ours["status"] == "ok":
            for name, row in best.items():
                ours["ratios"][name] = {key: ours[key] / row[key] for key in ("median", "min")}
