"""What was measured apart from the cases: by a program of its own, or once for many cases."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .suite import Case

_OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|MemoryError|out of memory|unable to allocate", re.IGNORECASE
)


def is_out_of_memory(message: str | None) -> bool:
    """Whether an error's message says that memory was missing, on whatever device."""
    return message is not None and _OUT_OF_MEMORY.search(message) is not None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A measurement, or why there is none."""

    routine: str
    n: int
    devices: int
    rhs: int | None = None
    tile: int | None = None
    warmup_seconds: Sequence[float] = ()
    seconds: Sequence[float] = ()
    array_seconds: Sequence[float] = ()
    gflops: float | None = None
    device_gflops: Sequence[float] | None = None
    residual: float | None = None
    failure: str | None = None
    out_of_memory: bool = False


class Outcomes:
    """All of a run, by case and series."""

    def __init__(self) -> None:
        self._of: dict[tuple[Case, str], list[Outcome]] = {}

    def add(self, case: Case, series: str, outcomes: Sequence[Outcome]) -> None:
        self._of.setdefault((case, series), []).extend(outcomes)

    def of(self, case: Case, series: str) -> list[Outcome]:
        """None where the series was not asked for; one for each tile where several were tried."""
        return self._of.get((case, series), [])
