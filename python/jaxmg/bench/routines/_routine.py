"""What the runner asks of a routine, and the matrices that routines share."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

if TYPE_CHECKING:
    from ..suite import Case


@dataclasses.dataclass(frozen=True)
class Problem:
    """The operands of a case, ready on the devices: making them is never timed.

    Attributes:
      mesh: one axis, ``x``.
      a: the matrix, by rows over `mesh`, or on every device where these do not divide it.
      b: right-hand sides on every device, a vector if there is one; no columns if there are none.
    """

    mesh: Mesh
    a: jax.Array
    b: jax.Array


@dataclasses.dataclass(frozen=True)
class Consuming:
    """What is timed, where it destroys an operand.

    Attributes:
      fresh: makes the operand before each run, and is not timed.
      run: takes it, and returns the results when they are there.
    """

    fresh: Callable[[], Any]
    run: Callable[[Any], Any]


class Routine(abc.ABC):
    """A routine of jaxmg.

    Attributes:
      baselines: the names of those of `BASELINES` that do the same.
    """

    baselines: tuple[str, ...] = ()

    @abc.abstractmethod
    def flops(self, case: Case) -> float:
        """Floating-point operations of the case by the usual count, complex ones as four."""

    @abc.abstractmethod
    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        """Calls jaxmg once; `a` is the problem's or, if it is donated, a copy."""

    def problem(self, case: Case, mesh: Mesh) -> Problem:
        """Makes the operands: of a positive definite system."""
        a = positive_definite(case.n, case.dtype, mesh)
        return Problem(mesh, a, ramps(case.n, case.rhs, case.dtype, mesh))

    def prepare(self, case: Case, problem: Problem) -> Callable[[], Any] | Consuming:
        """What is timed: runs jaxmg once and returns the results when they are there.

        Under ``jit``, as in a user's program, and as the baselines of JAX; eagerly if A is donated.
        """
        call = functools.partial(self.run, case, problem.mesh)
        if case.donate:
            return Consuming(
                lambda: jax.block_until_ready(problem.a.copy()),
                lambda a: jax.block_until_ready(call(a, problem.b)),
            )
        compiled = jax.jit(call)
        return lambda: jax.block_until_ready(compiled(problem.a, problem.b))

    @abc.abstractmethod
    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        """LAPACK's scaled residual of a series' result, jaxmg's or a baseline's: about 1 or less
        is good."""


def complex_factor(dtype: str) -> int:
    """How many real multiply-adds one of `dtype` counts as."""
    return 4 if np.dtype(dtype).kind == "c" else 1


def _auto(mesh: Mesh) -> Mesh:
    """The same devices, where XLA chooses the shardings of what is computed."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _rows(n: int, mesh: Mesh) -> NamedSharding:
    """By rows where the devices divide them; JAX has no such sharding otherwise."""
    return NamedSharding(mesh, P("x", None) if n % mesh.size == 0 else P())


def positive_definite(n: int, dtype: str, mesh: Mesh, seed: int = 0) -> jax.Array:
    """A dense random Hermitian matrix with eigenvalues of about 1.6 to 4.4.

    ``(G + G^H) / (2 sqrt(n)) + 3 I`` with standard normal G: the spectrum of the first part fills
    an interval of radius ``sqrt(2)``. It costs n^2 operations, where ``G @ G^H`` costs n^3, and no
    device ever holds more than its rows.
    """

    compiled = functools.partial(jax.jit, out_shardings=_rows(n, _auto(mesh)))

    @compiled
    def normal() -> jax.Array:
        return jax.random.normal(jax.random.key(seed), (n, n), dtype)

    # Compiled by itself: XLA would make both terms' random numbers in loops of their own, which
    # round differently.
    @compiled
    def symmetric(g: jax.Array) -> jax.Array:
        return (g + g.conj().T) / np.asarray(2 * np.sqrt(n), dtype) + 3 * jnp.eye(n, dtype=dtype)

    return jax.device_put(symmetric(normal()), _rows(n, mesh))


def ramps(n: int, rhs: int, dtype: str, mesh: Mesh, spec: P | None = None) -> jax.Array:
    """Right-hand sides ``1, 2, ...`` in each column, scaled to at most 1; by default on every
    device."""
    ramp = np.arange(1, n + 1) / n
    b = ramp if rhs == 1 else np.outer(ramp, np.arange(1, rhs + 1) / rhs)
    return jax.device_put(b.astype(dtype), NamedSharding(mesh, P() if spec is None else spec))


def _norm1(y: jax.Array) -> jax.Array:
    return jnp.max(jnp.sum(jnp.abs(y), axis=0))


def _product(a: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.matmul(a, x, precision=lax.Precision.HIGHEST)


@jax.jit
def _norms(a: jax.Array, x: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _norm1(b - _product(a, x)), _norm1(a), _norm1(x)


def solve_residual(problem: Problem, x: Any) -> float:
    """``||b - A x||_1 / (n eps ||A||_1 ||x||_1)``, in A's precision, as LAPACK takes it."""
    n, mesh = problem.a.shape[0], _auto(problem.mesh)
    everywhere = NamedSharding(mesh, P())
    r, of_a, of_x = _norms(
        jax.device_put(problem.a, _rows(n, mesh)),
        jax.device_put(x, everywhere),
        jax.device_put(problem.b, everywhere),
    )
    return float(r) / (n * float(np.finfo(problem.a.dtype).eps) * float(of_a) * float(of_x))


@jax.jit
def _inverse_norms(a: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    v = jax.random.normal(jax.random.key(1), (a.shape[0], SAMPLES), a.dtype)
    return _norm1(v - _product(a, _product(x, v))), _norm1(a), _norm1(x), _norm1(v)


#: Random vectors that stand for all in `inverse_residual`.
SAMPLES = 16


def inverse_residual(problem: Problem, x: Any) -> float:
    """``||V - A (X V)||_1 / (n eps ||A||_1 ||X||_1 ||V||_1)`` for a few random columns V, which
    costs n^2: about LAPACK's ``||I - A X||_1 / (n eps ||A||_1 ||X||_1)``."""
    n = problem.a.shape[0]
    rows = _rows(n, _auto(problem.mesh))
    r, *norms = _inverse_norms(jax.device_put(problem.a, rows), jax.device_put(x, rows))
    scale = n * float(np.finfo(problem.a.dtype).eps) * np.prod([float(norm) for norm in norms])
    return float(r) / float(scale)
