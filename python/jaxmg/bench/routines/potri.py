"""jaxmg.potri: the inverse of a Hermitian positive definite matrix, its factorisation included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxmg

from ._routine import Problem, Routine, complex_factor, inverse_residual

if TYPE_CHECKING:
    from ..suite import Case


class Potri(Routine):
    baselines = ("jax",)
    engines = ("jaxmg", "cusolvermg")

    def flops(self, case: Case) -> float:
        return potri_flops(case.dtype, case.n)

    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        spec = P("x", None)
        return jaxmg.potri(a, case.tile, mesh, spec, donate=case.donate, engine=case.engine)

    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        return inverse_residual(problem, result)


def potri_flops(dtype: str, n: int) -> float:
    """Of an inverse of order n, factorisation included, whoever makes it."""
    return complex_factor(dtype) * float(n) ** 3
