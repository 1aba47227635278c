"""jaxmg.potrs: one Hermitian positive definite system, factored and solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import (
    Consuming,
    Problem,
    Routine,
    complex_factor,
    positive_definite,
    ramps,
    solve_residual,
)

if TYPE_CHECKING:
    from ..suite import Case


class Potrs(Routine):
    def flops(self, case: Case) -> float:
        n = float(case.n)
        return complex_factor(case.dtype) * (n**3 / 3 + 2 * n**2 * case.rhs)

    def problem(self, case: Case, mesh: Mesh) -> Problem:
        a = positive_definite(case.n, case.dtype, mesh)
        return Problem(mesh, a, ramps(case.n, case.rhs, case.dtype, mesh))

    def prepare(self, case: Case, problem: Problem) -> Callable[[], Any] | Consuming:
        def solve(a: jax.Array) -> Any:
            x = jaxmg.potrs(a, problem.b, case.tile, problem.mesh, P("x", None), donate=case.donate)
            return jax.block_until_ready(x)

        if case.donate:
            return Consuming(lambda: jax.block_until_ready(problem.a.copy()), solve)
        return lambda: solve(problem.a)

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        return solve_residual(problem, result)
