"""JAX itself, on the first device of the case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax as jax_
from jax.numpy.linalg import inv
from jax.scipy.linalg import cho_factor, cho_solve
from jax.sharding import Mesh, NamedSharding, PartitionSpec

if TYPE_CHECKING:
    from ..routines import Problem
    from ..suite import Case


def jax(case: Case, problem: Problem) -> Callable[[], Any]:
    """What a user of JAX would call for the routine, under one ``jit``."""
    # A mesh of its own: an array that is only put on a device keeps the old one in its type.
    one = NamedSharding(Mesh(problem.mesh.devices.reshape(-1)[:1], ("x",)), PartitionSpec())
    a = jax_.device_put(problem.a, one)
    if case.routine == "potri":
        return lambda: jax_.block_until_ready(_invert(a))
    if case.routine == "potrs":
        b = jax_.device_put(problem.b, one)
        return lambda: jax_.block_until_ready(_solve(a, b))
    raise NotImplementedError(f"jax: has no baseline for {case.routine}")


@jax_.jit
def _solve(a: jax_.Array, b: jax_.Array) -> jax_.Array:
    """Of the lower triangle: JAX transposes the matrix for the upper one."""
    return cho_solve(cho_factor(a, lower=True), b)


_invert = jax_.jit(inv)
