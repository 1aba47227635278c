"""CholeskyFactor.solve: systems with a matrix that has been factored before, which is not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import Problem, Routine, Timed, complex_factor, solve_residual

if TYPE_CHECKING:
    from ..suite import Case


class ChoSolve(Routine):
    def flops(self, case: Case) -> float:
        return cho_solve_flops(case.dtype, case.n) * case.rhs

    def problem(self, case: Case, mesh: Mesh) -> Problem:
        """Right-hand sides are spread by columns where the devices divide them."""
        spread = case.rhs > 1 and case.rhs % mesh.size == 0
        return Problem(case, mesh, self.matrix(case), P(None, "x") if spread else None)

    def prepare(self, case: Case, problem: Problem) -> Timed:
        factor = jaxmg.cho_factor(problem.a, case.tile, problem.mesh, P("x", None))
        problem.free()
        solve = jax.jit(jaxmg.cho_solve) if case.jit else jaxmg.cho_solve
        return lambda: jax.block_until_ready(solve(factor, problem.b))

    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        factor = jaxmg.cho_factor(a, case.tile, mesh, P("x", None), donate=case.donate)
        return factor.solve(b)

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        return solve_residual(problem, result)


def cho_solve_flops(dtype: str, n: int) -> float:
    """Of one right-hand side, both substitutions."""
    return complex_factor(dtype) * 2.0 * float(n) ** 2
