"""JAX itself, on the first device of the case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax as jax_
from jax.numpy.linalg import eigh, inv
from jax.scipy.linalg import cho_factor, cho_solve

from ..routines import Problem, Timed, timed

if TYPE_CHECKING:
    from ..suite import Case


def jax(case: Case, problem: Problem) -> Timed:
    """What a user of JAX would call for the routine, under one ``jit``."""
    if case.routine not in _CALLS:
        raise NotImplementedError(f"jax: has no baseline for {case.routine}")
    return timed(case, problem.on_one_device(), _CALLS[case.routine])


@jax_.jit
def _solve(a: jax_.Array, b: jax_.Array) -> jax_.Array:
    """Of the lower triangle: JAX transposes the matrix for the upper one."""
    return cho_solve(cho_factor(a, lower=True), b)


@jax_.jit
def _invert(a: jax_.Array, b: jax_.Array) -> jax_.Array:
    return inv(a)


@jax_.jit
def _decompose(a: jax_.Array, b: jax_.Array) -> tuple[jax_.Array, ...]:
    return tuple(eigh(a))


_CALLS = {"potri": _invert, "potrs": _solve, "syevd": _decompose}
