"""Measures the cases of a suite, all routines alike."""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from . import environment, programs, record
from ._extras import have
from .baselines import BASELINES
from .programs import Outcome
from .routines import ROUTINES, Consuming
from .suite import Case, Suite, needs_x64

OURS = "jaxmg"

#: A result whose scaled residual is above this is wrong, however fast it came.
RESIDUAL_LIMIT = 10.0

#: Seconds. Between turns of others threads and devices fall asleep, and the first run of a turn is
#: slower by some tenths of a millisecond than those of a program that goes on calling.
SHORTEST_TURN = 0.05

Report = Callable[[str], None]


def configure(suite: Suite) -> None:
    """Gives this process the platform, the devices and the dtypes of the suite.

    Raises:
      RuntimeError: JAX has started already, with other devices.
    """
    if needs_x64(suite):
        jax.config.update("jax_enable_x64", True)
    # JAX refuses these once it has started; whether it has what is needed then is seen below.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", suite.platform)
        if suite.platform == "cpu":
            jax.config.update("jax_num_cpu_devices", suite.devices)
    try:
        there = len(jax.devices(suite.platform))
    except RuntimeError as error:
        raise RuntimeError(
            f"suite {suite.name}: expected the platform {suite.platform!r}, which JAX does not "
            f"have here: {error}"
        ) from None
    if there < suite.devices:
        raise RuntimeError(
            f"suite {suite.name}: expected {suite.devices} {suite.platform} devices, got {there}; "
            "run it in a process of its own, python -m jaxmg bench"
        )


class Series:
    """One thing that is measured in a case: its runs so far, and what went wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.warmup_seconds: list[float] = []
        self.seconds: list[float] = []
        self.failure: str | None = None
        self.residual: float | None = None
        self._run: Callable[[], Any] | Consuming | None = None
        self._result: Any = None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Out of memory is a row too, not the end of the suite."""
        try:
            yield
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}".strip()
            self._run = self._result = None

    def prepare(self, make: Callable[[], Callable[[], Any] | Consuming]) -> None:
        with self._failures():
            self._run = make()

    def take_turn(self, seconds: list[float]) -> None:
        """Runs once, or until `SHORTEST_TURN` has passed, which counts as one run of the mean time;
        unless it has failed before."""
        if self._run is None:
            return
        self._result = None  # its memory is free for this run
        with self._failures():
            run, again = self._run, True
            if isinstance(run, Consuming):
                run, again = functools.partial(run.run, run.fresh()), False
            runs, elapsed = 0, 0.0
            start = time.perf_counter()
            while runs == 0 or (again and elapsed < SHORTEST_TURN):
                self._result = run()
                runs, elapsed = runs + 1, time.perf_counter() - start
            seconds.append(elapsed / runs)

    def check(self, residual: Callable[[Any], float]) -> None:
        """Takes the last result's residual and lets go of all that the series holds."""
        if self._run is None:
            return
        with self._failures():
            value = residual(self._result)
            self.residual = value if math.isfinite(value) else None
            if not value <= RESIDUAL_LIMIT:
                self.failure = f"residual {value:.3g}, expected at most {RESIDUAL_LIMIT:g}"
        self._run = self._result = None


def measure(
    case: Case, number: int, mesh: Mesh, of_programs: programs.Outcomes
) -> list[dict[str, Any]]:
    """The rows of one case, jaxmg's first, those of programs last."""
    outside = {name: of_programs.of(case, name) for name in programs.series_of(case)}
    rows = _measure_here(case, number, mesh)
    for name, outcomes in outside.items():
        rows += [_row_of_program(case, number, name, outcome) for outcome in outcomes]
    _add_ratios(rows)
    return rows


def _measure_here(case: Case, number: int, mesh: Mesh) -> list[dict[str, Any]]:
    routine = ROUTINES[case.routine]
    here = [name for name in case.baselines if name in BASELINES]
    every = [Series(OURS), *(Series(name) for name in here)]
    try:
        problem = routine.problem(case, mesh)
    except Exception as error:
        for series in every:
            series.failure = f"operands: {type(error).__name__}: {error}".strip()
        return _rows(case, number, every)
    every[0].prepare(functools.partial(routine.prepare, case, problem))
    for series in every[1:]:
        series.prepare(functools.partial(BASELINES[series.name], case, problem))
    for series in every:
        for _ in range(case.warmups):
            series.take_turn(series.warmup_seconds)
    for turn in range(case.repeats):
        # Turn by turn and in alternating order, so that other load on the machine hits all alike.
        for series in every if turn % 2 == 0 else reversed(every):
            series.take_turn(series.seconds)
    for series in every:
        series.check(functools.partial(routine.residual, case, problem))
    return _rows(case, number, every)


def _rows(case: Case, number: int, every: list[Series]) -> list[dict[str, Any]]:
    flops = ROUTINES[case.routine].flops(case)
    rows: list[dict[str, Any]] = []
    for series in every:
        median = statistics.median(series.seconds) if series.seconds else None
        rows.append(
            {
                "case": number,
                "routine": case.routine,
                "dtype": case.dtype,
                "n": case.n,
                "rhs": case.rhs,
                "devices": case.devices,
                "tile": case.tile if series.name == OURS else None,
                "series": series.name,
                "status": "ok" if series.failure is None else "failed",
                "message": series.failure,
                "warmup_seconds": series.warmup_seconds,
                "seconds": series.seconds,
                "median": median,
                "min": min(series.seconds, default=None),
                "gflops": flops / median / 1e9 if median else None,
                "residual": series.residual,
                "ratios": {},
                **({"donated": True} if case.donate and series.name == OURS else {}),
            }
        )
    return rows


def _row_of_program(case: Case, number: int, series: str, outcome: Outcome) -> dict[str, Any]:
    row = {
        "case": number,
        "routine": outcome.routine,
        "dtype": case.dtype,
        "n": outcome.n,
        "rhs": None,
        "devices": outcome.devices,
        "tile": outcome.tile,
        "series": series,
        "status": "ok" if outcome.failure is None else "failed",
        "message": outcome.failure,
        "warmup_seconds": list(outcome.warmup_seconds),
        "seconds": list(outcome.seconds),
        "median": statistics.median(outcome.seconds) if outcome.seconds else None,
        "min": min(outcome.seconds, default=None),
        "gflops": outcome.gflops,
        "residual": outcome.residual,
        "ratios": {},
    }
    if outcome.device_gflops is not None:
        row["device_gflops"] = list(outcome.device_gflops)
    return row


def _add_ratios(rows: list[dict[str, Any]]) -> None:
    """To jaxmg's row: its times over each baseline's, over its best row's where it has several."""
    ours = next(row for row in rows if row["series"] == OURS)
    if ours["status"] != "ok":
        return
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        # A product of matrices is other work; its rate is what compares (`report`).
        if row is ours or row["status"] != "ok" or row["routine"] == "gemm":
            continue
        if row["series"] not in best or row["median"] < best[row["series"]]["median"]:
            best[row["series"]] = row
    for name, row in best.items():
        ours["ratios"][name] = {value: ours[value] / row[value] for value in ("median", "min")}


def run_suite(
    suite: Suite, report: Report = print, device_note: str | None = None
) -> dict[str, Any]:
    """Measures all cases.

    Programs of their own run first, one after the other, before JAX takes the GPUs' memory. Each
    other series of a case is warmed up, then all take turns. Inputs are made before and not timed;
    a time ends when the result is there. What fails, or runs out of memory, or has a residual
    above `RESIDUAL_LIMIT`, becomes a row with the status ``failed``.

    Args:
      suite: what to measure. JAX must not have started, or have the suite's devices.
      report: takes lines for the console as they come: a row for each series.
      device_note: what the record is to say about the devices.

    Returns:
      The record, as schema.json describes it.

    Raises:
      RuntimeError: JAX does not have the suite's devices.
    """
    from . import report as tables

    of_programs = programs.measure(suite, lambda line: print(line, file=sys.stderr))
    configure(suite)
    devices = jax.devices(suite.platform)[: suite.devices]
    mesh = jax.make_mesh((suite.devices,), ("x",), devices=devices)
    result: dict[str, Any] = {
        "version": record.VERSION,
        "suite": suite.name,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "environment": environment.describe_environment(device_note),
        "rows": [],
    }
    report(tables.heading())
    with _progress(suite) as progress:
        for number, case in enumerate(suite.cases):
            progress.next(case)
            rows = measure(case, number, mesh, of_programs)
            result["rows"] += rows
            for row in rows:
                progress.write(tables.line(row), report)
    return result


class _Progress:
    """On the standard error: a bar on a terminal where tqdm is installed, else a line a case."""

    def __init__(self, suite: Suite) -> None:
        self._cases = len(suite.cases)
        self._done = 0
        self._tqdm = have("tqdm") if sys.stderr.isatty() else None
        self._bar: Any = None
        if self._tqdm is not None:
            self._bar = self._tqdm.tqdm(total=self._cases, unit="case", leave=False)

    def next(self, case: Case) -> None:
        if self._bar is None:
            print(f"[{self._done + 1}/{self._cases}] {case}", file=sys.stderr)
        else:
            self._bar.update(self._done - self._bar.n)
            self._bar.set_description(str(case))
        self._done += 1

    def write(self, line: str, report: Report) -> None:
        if self._tqdm is None:
            report(line)
        else:
            with self._tqdm.tqdm.external_write_mode():
                report(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _progress(suite: Suite) -> Iterator[_Progress]:
    progress = _Progress(suite)
    try:
        yield progress
    finally:
        progress.close()
