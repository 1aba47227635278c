"""How far a run is, and how long it will still take."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ._extras import have

Report = Callable[[str], None]


def seconds_left(done: Sequence[tuple[float, float]], todo: Sequence[float]) -> float | None:
    """Of cases whose work is known, when others have been measured.

    A case takes as long as the shortest one did, which is compilation mostly, and for its work as
    long as the one with the most work took beyond that. Once the largest cases of the slowest
    routine are under way that comes true; before, it is too little.

    Args:
      done: work and seconds of each case that is done.
      todo: work of each that is not.

    Returns:
      Seconds; None if nothing is done.
    """
    if not done:
        return None
    most, took = max(done)
    shortest = min(seconds for _, seconds in done)
    rate = (took - shortest) / most if most else 0.0
    return sum(shortest + rate * work for work in todo)


def in_words(seconds: float | None) -> str:
    """Rounded, as a person would say it."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """On the standard error: a bar on a terminal where tqdm is installed, else a line a case."""

    def __init__(self, work: Sequence[float]) -> None:
        """`work` of each case, such as its operations."""
        self._work = work
        self._done: list[tuple[float, float]] = []
        self._tqdm = have("tqdm") if sys.stderr.isatty() else None
        self._bar: Any = None
        if self._tqdm is not None:
            form = "{n}/{total} |{bar}| {elapsed}{postfix}  {desc}"
            self._bar = self._tqdm.tqdm(total=len(work), leave=False, bar_format=form)

    @contextlib.contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Around the measuring of the next case."""
        number = len(self._done)
        left = in_words(seconds_left(self._done, self._work[number:]))
        if self._bar is None:
            print(f"[{number + 1}/{len(self._work)}] {name}, {left} left", file=sys.stderr)
        else:
            self._bar.set_postfix_str(f"{left} left", refresh=False)
            self._bar.set_description_str(name)
        start = time.perf_counter()
        yield
        self._done.append((self._work[number], time.perf_counter() - start))
        if self._bar is not None:
            self._bar.update()

    def write(self, line: str, report: Report) -> None:
        """A line of the console's, above the bar."""
        if self._tqdm is None:
            report(line)
        else:
            with self._tqdm.tqdm.external_write_mode():
                report(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
