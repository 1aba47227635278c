"""Other libraries, measured by a command of their own: JSON lines in, JSON lines out.

The command is started once, before JAX starts, in its own process group. On its standard input it
finds one JSON object a line for each case (`request`), then the end. It prints one JSON object a
line for each measurement, in any order; other lines are ignored:

    {"case": 3, "status": "ok", "tile": 512, "warmup_seconds": [1.9], "seconds": [0.31, 0.30],
     "array_seconds": [0.01, 0.01], "residual": 0.002}

``case`` is the request's number, ``status`` one of `STATUSES`. An ``ok`` needs ``seconds`` and
``residual``; the others a ``message``, ``unsupported`` nothing: it leaves no row. ``tile``,
``devices``, ``warmup_seconds`` and ``array_seconds`` may be there. A case may be answered more than
once, with different tiles. Cases without an answer become failed rows.

The environment is this process's without PYTHONPATH and what begins with JAXMG_ or JAX_, so that a
package of the same name can be measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import shlex
import signal
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .outcome import Outcome, Outcomes, is_out_of_memory
from .routines import ROUTINES
from .series import RESIDUAL_LIMIT
from .suite import each_tile

if TYPE_CHECKING:
    from .suite import Case, Suite

#: What an answer's ``status`` may be.
STATUSES = ("ok", "failed", "out_of_memory", "unsupported")

#: Seconds without an answer after which a command is ended.
PATIENCE = 900.0


def request(case: Case, number: int) -> dict[str, Any]:
    """What a command is asked for: the case's settings; what A is, by the fields of
    `matrices.Matrix`."""
    return {
        "case": number,
        "routine": case.routine,
        "rhs": case.rhs,
        "devices": case.devices,
        "tile": case.tile,
        "warmups": case.warmups,
        "repeats": case.repeats,
        "max_seconds": case.max_seconds,
        "donate": case.donate,
        "arrays": case.arrays,
        "matrix": dataclasses.asdict(ROUTINES[case.routine].matrix(case)),
    }


def measure(suite: Suite, outcomes: Outcomes, report: Callable[[str], None]) -> None:
    """Runs the commands of a suite one after the other; `report` hears of each answer."""
    for name, command in suite.externals.items():
        together = (group for group in suite.together() if name in group[0].baselines)
        cases = [case for group in together for case in each_tile(group)]
        report(f"{name}: {len(cases)} cases: {command}")
        for case, of_case in zip(cases, _run(name, command, cases, report), strict=True):
            outcomes.add(case, name, of_case)


def _run(
    name: str, command: str, cases: list[Case], report: Callable[[str], None]
) -> list[list[Outcome]]:
    """The outcomes of each case. The command may fail at any point: what it said until then
    counts."""
    found: list[list[Outcome]] = [[] for _ in cases]
    answered: set[int] = set()
    trouble = "no answer"
    requests = [json.dumps(request(case, number)) for number, case in enumerate(cases)]
    try:
        with _Command(command, "\n".join(requests) + "\n") as running:
            for line in running.lines():
                answer = _object(line)
                if answer is None:
                    continue
                number = answer.get("case")
                if not isinstance(number, int) or not 0 <= number < len(cases):
                    trouble = f"expected a case from 0 to {len(cases) - 1}, got {number!r}"
                    continue
                answered.add(number)
                report(f"{name}: {len(answered)}/{len(cases)} {cases[number]}")
                if answer.get("status") != "unsupported":
                    found[number].append(_outcome(cases[number], answer))
            trouble = running.trouble() or trouble
    except (OSError, ValueError) as error:
        trouble = f"{error}"
    for number, case in enumerate(cases):
        if number not in answered:
            found[number].append(_failure(case, f"{name}: {trouble}"))
    return found


def _object(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        value = json.loads(line)
        if isinstance(value, dict):
            return value
    return None


def _failure(case: Case, message: str, tile: int | None = None, status: str = "") -> Outcome:
    return Outcome(
        case.routine,
        case.n,
        case.devices,
        rhs=case.rhs,
        tile=tile,
        failure=message,
        out_of_memory=status == "out_of_memory" or is_out_of_memory(message),
    )


def _outcome(case: Case, answer: dict[str, Any]) -> Outcome:
    try:
        return _judged(case, answer)
    except (KeyError, TypeError, ValueError) as error:
        return _failure(case, f"not the answer expected: {error!r}")


def _judged(case: Case, answer: dict[str, Any]) -> Outcome:
    status = answer["status"]
    if status not in STATUSES:
        raise ValueError(f"status: expected one of {', '.join(STATUSES)}, got {status!r}")
    tile = answer.get("tile", case.tile)
    if status != "ok":
        return _failure(case, str(answer["message"]), tile, status)
    seconds = [float(value) for value in answer["seconds"]]
    residual = float(answer["residual"])
    wrong = f"residual {residual:.3g}, expected at most {RESIDUAL_LIMIT:g}"
    return Outcome(
        case.routine,
        case.n,
        int(answer.get("devices", case.devices)),
        rhs=case.rhs,
        tile=tile,
        warmup_seconds=[float(value) for value in answer.get("warmup_seconds", [])],
        seconds=seconds,
        array_seconds=[float(value) for value in answer.get("array_seconds", [])],
        gflops=ROUTINES[case.routine].flops(case) / statistics.median(seconds) / 1e9,
        residual=residual if residual < float("inf") else None,
        failure=None if residual <= RESIDUAL_LIMIT else wrong,
    )


class _Command:
    """A running command: its lines as they come, and its end."""

    def __init__(self, command: str, text: str) -> None:
        kept = {
            key: value
            for key, value in os.environ.items()
            if key != "PYTHONPATH" and not key.startswith(("JAXMG_", "JAX_"))
        }
        self._late = False
        self._open = contextlib.ExitStack()
        self._errors = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with tempfile.TemporaryFile() as requests:
            requests.write(text.encode())
            requests.seek(0)
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=requests,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=kept,
                start_new_session=True,
            )
        self._open.enter_context(self._process)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> _Command:
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: a launcher has children. It may be gone, its children not.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._open.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)

    def lines(self) -> Iterator[str]:
        """Until its output ends, or there is none for `PATIENCE`."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                self._late = True
                return
            if line is None:
                return
            yield line

    def trouble(self) -> str | None:
        """What went wrong, once the lines have ended."""
        if self._late:
            return f"no line for {PATIENCE:g} s"
        status = self._process.wait(timeout=60)
        if status == 0:
            return None
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()
        return f"exit status {status}" + (f": {words[-500:]}" if words else "")
