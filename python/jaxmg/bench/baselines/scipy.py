"""SciPy on the host's cores, with as many threads as its BLAS takes by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..routines import Problem
    from ..suite import Case


def scipy(case: Case, problem: Problem) -> Callable[[], Any]:
    """``cho_factor`` and ``cho_solve``, with the matrix as SciPy likes it best; for syevd ``eigh``.

    SciPy works in Fortran order up to 1.17 and in C order from 1.18 on; a matrix in the other order
    is transposed first, which takes half as long again at n = 4096. There is no search for NaN.
    From 1.18 on ``cho_solve`` itself transposes the factor: `lapack` does not have that.
    """
    from scipy.linalg import cho_factor, cho_solve, eigh

    _check_routine("scipy", case, "potrs", "syevd")
    of_scipy, _ = cho_factor(np.array([[1.0, 0.5], [0.5, 1.0]]))
    a = np.array(problem.a, order="F" if of_scipy.flags.f_contiguous else "C")
    if case.routine == "syevd":
        return lambda: eigh(a, driver="evd", check_finite=False)
    b = np.asarray(problem.b)

    def run() -> Any:
        factor = cho_factor(a, lower=True, check_finite=False)
        return cho_solve(factor, b, check_finite=False)

    return run


def lapack(case: Case, problem: Problem) -> Callable[[], Any]:
    """``potrf`` and ``potrs`` of SciPy's LAPACK, called directly on a matrix in Fortran order."""
    from scipy.linalg import get_lapack_funcs

    _check_routine("lapack", case, "potrs")
    a = np.asfortranarray(np.asarray(problem.a))
    b = np.asarray(problem.b)
    potrf, potrs = get_lapack_funcs(("potrf", "potrs"), (a, b))

    def run() -> Any:
        factor, _ = potrf(a, lower=True, clean=False)  # of a copy, as jaxmg
        x, _ = potrs(factor, b, lower=True)
        return x

    return run


def _check_routine(name: str, case: Case, *routines: str) -> None:
    if case.routine not in routines:
        raise NotImplementedError(f"{name}: has no baseline for {case.routine}")
