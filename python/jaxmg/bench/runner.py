"""Measures the cases of a suite, all routines alike."""

from __future__ import annotations

import contextlib
import datetime
import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from .._library import ENGINES, noted_stages
from . import environment, external, programs, record, report
from .baselines import BASELINES
from .gemm import measure_gemm
from .outcome import Outcomes
from .programs import GEMM
from .progress import Progress, Report
from .routines import ROUTINES, Problem, Timed
from .rows import Row, add_ratios, row_of_outcome, row_of_series
from .series import Series
from .suite import Case, Suite, each_tile, needs_x64

Together = tuple[Case, ...]


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


class Measurement:
    """How the cases of a suite are measured, and what was learnt from those before."""

    def __init__(self, suite: Suite, outcomes: Outcomes) -> None:
        self._suite = suite
        self._outcomes = outcomes
        #: By all of a series but the order: the smallest one for which memory was missing.
        self._too_large: dict[tuple[Any, ...], int] = {}

    def measure(self, cases: Together, number: int) -> list[Row]:
        """The rows of cases that differ in their engines and tiles only: jaxmg's first, those of
        programs last."""
        first = cases[0]
        rows = self._measure_here(cases, number)
        for name in first.baselines:
            # A program is asked once for all tiles; an external command for each.
            asked = each_tile(cases) if name in self._suite.externals else cases[:1]
            for case in asked:
                of_case = self._outcomes.of(case, name)
                rows += [row_of_outcome(case, number, name, outcome) for outcome in of_case]
        add_ratios(rows)
        return rows

    def _measure_here(self, cases: Together, number: int) -> list[Row]:
        first = cases[0]
        routine = ROUTINES[first.routine]
        makers: dict[Series, Callable[[Problem], Timed]] = {
            Series(case.engine, case.tile): functools.partial(routine.prepare, case)
            for case in cases
        }
        for name in first.baselines:
            if name in BASELINES:
                makers[Series(name)] = functools.partial(BASELINES[name], first)
        every = list(makers)
        for series in every:
            self._refuse_if_too_large(series, first)
        try:
            problem = routine.problem(first, _mesh(self._suite, first.devices))
        except Exception as error:
            for series in every:
                with series.failures("operands: "):
                    raise error
        else:
            for series, make in makers.items():
                series.prepare(functools.partial(make, problem))
            _run(first, every, problem)
        for series in every:
            if series.out_of_memory:
                kind = _kind(series, first)
                self._too_large[kind] = min(first.n, self._too_large.get(kind, first.n))
        return [row_of_series(first, number, series) for series in every]

    def _refuse_if_too_large(self, series: Series, case: Case) -> None:
        limit = self._too_large.get(_kind(series, case))
        if limit is not None and case.n >= limit:
            series.fail(f"not tried: out of memory at n = {limit}", out_of_memory=True)


def _kind(series: Series, case: Case) -> tuple[Any, ...]:
    return series.name, series.tile, case.routine, case.dtype, case.rhs, case.devices, case.matrix


def _run(case: Case, every: list[Series], problem: Problem) -> None:
    """Warms all series up, then has them take turns in alternating order, so that other load on the
    machine hits all alike."""
    routine = ROUTINES[case.routine]
    residual = functools.partial(routine.residual, case, problem)
    noting = functools.partial(noted_stages, problem.mesh.devices.flat[0].platform)
    for series in every:
        for _ in range(case.warmups):
            series.take_turn(series.warmups)
            series.forget()
    for turn in range(case.repeats):
        for series in every if turn % 2 == 0 else reversed(every):
            if series.is_done(case.repeats, case.max_seconds):
                continue
            series.take_turn(series.times)
            if not series.is_done(case.repeats, case.max_seconds):
                series.forget()
                continue
            if case.stages and routine.staged and series.name in ENGINES:
                series.note_stages(noting)
            series.check(residual)
            if case.donate or case.arrays:
                problem.free()


def _mesh(suite: Suite, devices: int) -> Mesh:
    return jax.make_mesh((devices,), ("x",), devices=jax.devices(suite.platform)[:devices])


def _measure_gemm(suite: Suite, outcomes: Outcomes, say: Callable[[str], None]) -> None:
    """The ceiling of each dtype and number of devices, once for all cases that ask for it."""
    if suite.programs is not None:
        return
    asking: dict[tuple[str, int], list[Case]] = {}
    for case in suite.cases:
        if GEMM in case.baselines:
            asking.setdefault((case.dtype, case.devices), []).append(case)
    for (dtype, devices), cases in asking.items():
        say(f"{GEMM}: {dtype}, {devices} devices")
        outcome = measure_gemm(dtype, _mesh(suite, devices), suite.platform)
        for case in cases:
            outcomes.add(case, GEMM, [outcome])


def run_suite(
    suite: Suite,
    report_line: Report = print,
    device_note: str | None = None,
    earlier: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Measures all cases.

    Programs of their own run first, one after the other, before JAX takes the GPUs' memory. Cases
    that differ in their engines and tiles only are measured together, on one matrix: each series,
    jaxmg's of every engine and tile and the baselines, is warmed up, then all take turns. A time
    ends when the result is there. What fails, or has a residual above `RESIDUAL_LIMIT`, becomes a
    row with the status ``failed``, and what finds no memory one with ``out_of_memory``; larger
    cases of that series are then not tried.

    Args:
      suite: what to measure. JAX must not have started, or have the suite's devices.
      report_line: takes lines for the console as they come: a row for each series.
      device_note: what the record is to say about the devices.
      earlier: a record to go on with, such as that of a run that was cut off: its cases are not
        measured again, but for those with a failed row, and all of them stay in the record, also
        those that the suite does not have.
      save: takes the record after each case.

    Returns:
      The record, as schema.json describes it.

    Raises:
      RuntimeError: JAX does not have the suite's devices.
      ValueError: `earlier` was not measured in this environment.
    """

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    known = _rows_by_case(earlier)
    groups = suite.together()
    settings = [record.settings(cases) for cases in groups]
    missing = [number for number, case in enumerate(settings) if not _is_done(case, known)]
    settings += _other_cases(earlier, settings)
    rows = {
        number: known[_key(case)] for number, case in enumerate(settings) if _key(case) in known
    }
    to_measure = [groups[number] for number in missing]
    rest = _only(suite, to_measure)
    outcomes = Outcomes()
    programs.measure(rest, outcomes, say)
    external.measure(rest, outcomes, say)
    configure(suite)
    result: dict[str, Any] = {
        "version": record.VERSION,
        "suite": suite.name,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "environment": environment.describe_environment(device_note),
        "cases": settings,
        "rows": _in_order(rows),
    }
    if earlier is not None:
        _check_environment(earlier["environment"], result["environment"])
        result |= {key: earlier[key] for key in ("suite", "started", "environment")}
    _measure_gemm(rest, outcomes, say)
    measurement = Measurement(suite, outcomes)
    report_line(report.heading())
    progress = Progress([_work(cases) for cases in to_measure])
    with contextlib.closing(progress):
        for number, cases in zip(missing, to_measure, strict=True):
            with progress.case(str(cases[0])):
                rows[number] = measurement.measure(cases, number)
            for row in rows[number]:
                progress.write(report.line(row), report_line)
            result["rows"] = _in_order(rows)
            if save is not None:
                save(result)
    return result


def _work(cases: Together) -> float:
    return ROUTINES[cases[0].routine].flops(cases[0]) * (len(cases) + len(cases[0].baselines))


def _only(suite: Suite, groups: list[Together]) -> Suite:
    cases = tuple(case for cases in groups for case in cases)
    return Suite(suite.name, suite.platform, suite.devices, cases, suite.programs, suite.externals)


def _key(settings: dict[str, Any]) -> str:
    return repr(sorted(settings.items()))


def _rows_by_case(earlier: dict[str, Any] | None) -> dict[str, list[Row]]:
    """The rows of each case of an earlier record that has some, by the case's settings."""
    of_case: dict[str, list[Row]] = {}
    if earlier is not None:
        for row in earlier["rows"]:
            of_case.setdefault(_key(earlier["cases"][row["case"]]), []).append(row)
    return of_case


def _is_done(settings: dict[str, Any], known: dict[str, list[Row]]) -> bool:
    """Whether an earlier run need not be repeated for a case."""
    rows = known.get(_key(settings), [])
    return bool(rows) and all(row["status"] != "failed" for row in rows)


def _other_cases(
    earlier: dict[str, Any] | None, asked: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The cases of an earlier record that are measured, and nobody asks for now."""
    if earlier is None:
        return []
    measured = sorted({row["case"] for row in earlier["rows"]})
    cases = [earlier["cases"][number] for number in measured]
    keys = {_key(case) for case in asked}
    return [case for case in cases if _key(case) not in keys]


def _in_order(rows: dict[int, list[Row]]) -> list[Row]:
    return [{**row, "case": number} for number in sorted(rows) for row in rows[number]]


def _check_environment(before: dict[str, Any], now: dict[str, Any]) -> None:
    for key in ("versions", "revision", "cpu", "devices", "gpus"):
        if before.get(key) != now[key]:
            raise ValueError(
                f"resume: expected the environment of the record, got another: {key} was "
                f"{before.get(key)}, is {now[key]}; write a record of its own"
            )
