"""JAX itself, on the first device of the case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax as jax_
from jax.sharding import Mesh, NamedSharding, PartitionSpec

if TYPE_CHECKING:
    from ..routines import Problem
    from ..suite import Case


def jax(case: Case, problem: Problem) -> Callable[[], Any]:
    """``cho_factor`` and ``cho_solve`` under one ``jit``, of the lower triangle: JAX transposes the
    matrix for the upper one."""
    from jax.scipy.linalg import cho_factor, cho_solve

    if case.routine != "potrs":
        raise NotImplementedError(f"jax: has no baseline for {case.routine}")
    # A mesh of its own: an array that is only put on a device keeps the old one in its type.
    one = NamedSharding(Mesh(problem.mesh.devices.reshape(-1)[:1], ("x",)), PartitionSpec())
    a = jax_.device_put(problem.a, one)
    b = jax_.device_put(problem.b, one)

    @jax_.jit
    def solve(a: jax_.Array, b: jax_.Array) -> jax_.Array:
        return cho_solve(cho_factor(a, lower=True), b)

    return lambda: jax_.block_until_ready(solve(a, b))
