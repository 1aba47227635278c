"""jaxmg's Cholesky factorisation alone, which Python does not have: its C++ tester measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._routine import Routine, complex_factor

if TYPE_CHECKING:
    from ..suite import Case


class Potrf(Routine):
    program = "tester"

    def flops(self, case: Case) -> float:
        return potrf_flops(case.dtype, case.n)


def potrf_flops(dtype: str, n: int) -> float:
    """Of a factorisation of order n, whoever makes it."""
    return complex_factor(dtype) * float(n) ** 3 / 3
