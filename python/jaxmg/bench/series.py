"""One thing that is measured in a case."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from .outcome import is_out_of_memory
from .routines import OnFresh, Timed

#: What `_library.noted_stages` is, of the platform.
Noting = Callable[[], contextlib.AbstractContextManager[dict[str, float]]]

#: A result whose scaled residual is above this is wrong, however fast it came.
RESIDUAL_LIMIT = 10.0

#: Seconds. Between turns of others threads and devices fall asleep, and the first run of a turn is
#: slower by some tenths of a millisecond than those of a program that goes on calling.
SHORTEST_TURN = 0.05


@dataclasses.dataclass
class Times:
    """Seconds of a series' runs, in order; and of making their operands, where that is timed."""

    runs: list[float] = dataclasses.field(default_factory=list)
    arrays: list[float] = dataclasses.field(default_factory=list)


class Series:
    """One thing that is measured in a case: its runs so far, and what went wrong.

    Attributes:
      name: what the record calls it.
      tile: ``T_A``; None if it is chosen, or there is none.
      failure: what went wrong; None so far.
      out_of_memory: whether it was that.
      residual: of the last run's result, if it is finite.
      stage_seconds: of one more run's stages, by their names; None where nobody asked.
    """

    def __init__(self, name: str, tile: int | None = None) -> None:
        self.name = name
        self.tile = tile
        self.warmups = Times()
        self.times = Times()
        self.failure: str | None = None
        self.out_of_memory = False
        self.residual: float | None = None
        self.stage_seconds: dict[str, float] | None = None
        self._run: Timed | None = None
        self._result: Any = None

    def fail(self, message: str, out_of_memory: bool = False) -> None:
        """Ends the series. All that it holds is let go of."""
        self.failure, self.out_of_memory = message, out_of_memory
        self._run = self._result = None

    @contextlib.contextmanager
    def failures(self, doing: str = "") -> Iterator[None]:
        """What is raised here becomes a row, not the end of the suite."""
        try:
            yield
        except Exception as error:
            message = f"{type(error).__name__}: {error}".strip()
            self.fail(doing + message, is_out_of_memory(message))

    def prepare(self, make: Callable[[], Timed]) -> None:
        """`make` returns what is timed; unless the series has failed before."""
        if self.failure is not None:
            return
        with self.failures():
            self._run = make()

    def take_turn(self, times: Times) -> None:
        """Runs once, or until `SHORTEST_TURN` has passed, which counts as one run of the mean time;
        unless it has failed before."""
        if self._run is None:
            return
        with self.failures():
            runs, elapsed, making = 0, 0.0, 0.0
            while runs == 0 or elapsed + making < SHORTEST_TURN:
                operands: tuple[Any, ...] = ()
                self._result = None  # its memory is free for this run
                start = time.perf_counter()
                if isinstance(self._run, OnFresh):
                    operands = self._run.make()
                    made = time.perf_counter()
                    self._result = self._run.run(*operands)
                    making += made - start
                else:
                    made = start
                    self._result = self._run()
                runs, elapsed = runs + 1, elapsed + time.perf_counter() - made
            times.runs.append(elapsed / runs)
            if isinstance(self._run, OnFresh):
                times.arrays.append(making / runs)

    def note_stages(self, noting: Noting) -> None:
        """Runs once more, within what `noting` returns, which has the times of the stages then."""
        if self._run is None:
            return
        with self.failures("stages: "):
            self._result = None
            operands = self._run.make() if isinstance(self._run, OnFresh) else ()
            run = self._run.run if isinstance(self._run, OnFresh) else self._run
            with noting() as seconds:
                self._result = run(*operands)
            self.stage_seconds = seconds

    def forget(self) -> None:
        """Lets go of the last run's result: others run next, and need the memory."""
        self._result = None

    def is_done(self, repeats: int, max_seconds: float | None) -> bool:
        """Whether no further run is wanted."""
        spent = sum(self.times.runs)
        late = max_seconds is not None and spent >= max_seconds
        return self._run is None or len(self.times.runs) >= repeats or late

    def check(self, residual: Callable[[Any], float]) -> None:
        """Takes the last result's residual and lets go of all that the series holds."""
        if self._run is None:
            return
        with self.failures("residual: "):
            self._run = None
            value = residual(self._take_result())
            self.residual = value if math.isfinite(value) else None
            if not value <= RESIDUAL_LIMIT:
                self.fail(f"residual {value:.3g}, expected at most {RESIDUAL_LIMIT:g}")
        self._result = None

    def _take_result(self) -> Any:
        result, self._result = self._result, None
        return result
