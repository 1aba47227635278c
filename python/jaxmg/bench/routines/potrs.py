"""jaxmg.potrs: one Hermitian positive definite system, factored and solved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import Problem, Routine, complex_factor, solve_residual

if TYPE_CHECKING:
    from ..suite import Case


class Potrs(Routine):
    baselines = ("jax", "lapack", "scipy")
    engines = ("jaxmg", "cusolvermg")

    def flops(self, case: Case) -> float:
        n = float(case.n)
        return complex_factor(case.dtype) * (n**3 / 3 + 2 * n**2 * case.rhs)

    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        spec = P("x", None)
        return jaxmg.potrs(a, b, case.tile, mesh, spec, donate=case.donate, engine=case.engine)

    def run_in_storage(
        self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array
    ) -> tuple[Any, jax.Array | None]:
        spec = P("x", None)
        work, x, _ = jaxmg.potrs_jit_ctx(a, b, case.tile, mesh, spec, engine=case.engine)
        return x, work

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        return solve_residual(problem, result)
