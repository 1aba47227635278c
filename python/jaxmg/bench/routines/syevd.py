"""jaxmg.syevd: eigenvalues and eigenvectors of a Hermitian matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import Problem, Routine, complex_factor, eigen_residual

if TYPE_CHECKING:
    from ..suite import Case


class Syevd(Routine):
    baselines = ("jax", "scipy")
    engines = ("jaxmg", "cusolvermg")
    definite = False
    staged = True

    def flops(self, case: Case) -> float:
        return syevd_flops(case.dtype, case.n)

    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        spec = P("x", None)
        return jaxmg.syevd(a, case.tile, mesh, spec, donate=case.donate, engine=case.engine)

    def run_in_storage(
        self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array
    ) -> tuple[Any, jax.Array | None]:
        work, w, v, _ = jaxmg.syevd_jit_ctx(a, case.tile, mesh, P("x", None), engine=case.engine)
        return (w, v), work

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        return eigen_residual(problem, *result)


def syevd_flops(dtype: str, n: int) -> float:
    """Of eigenvalues and eigenvectors, as the published JAXMg counts them, whoever finds them."""
    return complex_factor(dtype) * 9.0 * float(n) ** 3
