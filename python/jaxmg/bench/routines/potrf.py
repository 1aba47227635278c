"""jaxmg.cho_factor: a Hermitian positive definite matrix, factored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import Problem, Routine, complex_factor, solve_residual

if TYPE_CHECKING:
    from ..suite import Case


class Potrf(Routine):
    def flops(self, case: Case) -> float:
        return potrf_flops(case.dtype, case.n)

    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        return jaxmg.cho_factor(a, case.tile, mesh, P("x", None), donate=case.donate)

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        """Of what is solved with the factor."""
        return solve_residual(problem, result.solve(problem.b))


def potrf_flops(dtype: str, n: int) -> float:
    """Of a factorisation of order n, whoever makes it."""
    return complex_factor(dtype) * float(n) ** 3 / 3
