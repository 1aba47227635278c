"""jaxmg.cho_factor: a Hermitian positive definite matrix, factored."""

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


class Potrf(Routine):
    has_baselines = False  # they solve as well

    def flops(self, case: Case) -> float:
        return potrf_flops(case.dtype, case.n)

    def problem(self, case: Case, mesh: Mesh) -> Problem:
        a = positive_definite(case.n, case.dtype, mesh)
        return Problem(mesh, a, ramps(case.n, case.rhs, case.dtype, mesh))

    def prepare(self, case: Case, problem: Problem) -> Callable[[], Any] | Consuming:
        def factor(a: jax.Array) -> Any:
            made = jaxmg.cho_factor(a, case.tile, problem.mesh, P("x", None), donate=case.donate)
            return jax.block_until_ready(made)

        if case.donate:
            return Consuming(lambda: jax.block_until_ready(problem.a.copy()), factor)
        return lambda: factor(problem.a)

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        """Of what is solved with the factor."""
        return solve_residual(problem, result.solve(problem.b))


def potrf_flops(dtype: str, n: int) -> float:
    """Of a factorisation of order n, whoever makes it."""
    return complex_factor(dtype) * float(n) ** 3 / 3
