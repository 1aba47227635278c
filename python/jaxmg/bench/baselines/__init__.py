"""What jaxmg is compared with. A further baseline is one file here, and one line in `BASELINES`.

A baseline is a function of a case and its problem. It returns what is timed (`Timed`); the results
are as the routine's ``residual`` takes them. Where it cannot run a case it raises; that becomes a
failed row.

Baselines that are programs of their own are in `programs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..routines import Problem, Timed
from .jax import jax
from .scipy import lapack, scipy

if TYPE_CHECKING:
    from ..suite import Case

Baseline = Callable[["Case", Problem], Timed]

BASELINES: dict[str, Baseline] = {"jax": jax, "lapack": lapack, "scipy": scipy}
