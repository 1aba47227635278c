"""Whether a newer record is slower than an older one."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import report
from .matrices import KAPPA, KINDS

#: What makes two rows the same measurement; the defaults are for older records.
_KEY: dict[str, Any] = {
    "routine": None,
    "dtype": None,
    "n": None,
    "rhs": None,
    "devices": None,
    "tile": None,
    "series": None,
    "matrix": KINDS[0],
    "kappa": KAPPA,
    "donated": False,
    "jit": False,
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two records, row by row.

    Attributes:
      lines: a table of the rows that both have, and of what only one has.
      regressions: the number of rows that became slower than the bound, or stopped working.
      compared: the number of rows that both have.
    """

    lines: list[str]
    regressions: int
    compared: int


def compare(old: dict[str, Any], new: dict[str, Any], bound: float) -> Comparison:
    """Compares the rows that both records have.

    A row has regressed if it was ok and is not, or if both its median and its shortest time are
    more than `bound` times the old ones: one of them alone is noise more often than not.
    """
    before, after = _rows(old), _rows(new)
    common = [key for key in before if key in after]
    lines = [f"{report.heading()} {'old ms':>10} {'ratio':>6}"]
    regressions = 0
    for key in common:
        was, now = before[key], after[key]
        worse, remark = _judge(was, now, bound)
        regressions += worse
        lines.append(f"{report.line(now)} {remark}{'  REGRESSION' if worse else ''}")
    for rows, others, which in ((before, after, "old"), (after, before, "new")):
        alone = [key for key in rows if key not in others]
        lines += [f"only in the {which} record: {report.line(rows[key])}" for key in alone]
    return Comparison(lines, regressions, len(common))


def _rows(record: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Of several rows of one measurement, such as gemm's, the first."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in record["rows"]:
        rows.setdefault(tuple(row.get(name, default) for name, default in _KEY.items()), row)
    return rows


def _judge(was: dict[str, Any], now: dict[str, Any], bound: float) -> tuple[bool, str]:
    if was["status"] != "ok":
        return False, f"(was: {was['status'].replace('_', ' ')})"
    if now["status"] != "ok":
        return True, f"(was: {1e3 * was['median']:.2f} ms)"
    ratio = now["median"] / was["median"]
    worse = ratio > bound and now["min"] / was["min"] > bound
    return worse, f"{1e3 * was['median']:10.2f} {ratio:6.2f}"
