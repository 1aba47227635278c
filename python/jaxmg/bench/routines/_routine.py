"""What the runner asks of a routine, and the residuals that routines share."""

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

from ..matrices import Matrix, right_hand_sides

if TYPE_CHECKING:
    from ..suite import Case


class Problem:
    """The operands of a case, made on the devices when they are asked for.

    Attributes:
      mesh: one axis, ``x``.
      matrix: what A is.
    """

    def __init__(self, case: Case, mesh: Mesh, matrix: Matrix, b_spec: P | None = None) -> None:
        self.mesh = mesh
        self.matrix = matrix
        self._case = case
        self._b_spec = P() if b_spec is None else b_spec

    @functools.cached_property
    def a(self) -> jax.Array:
        """The matrix, by rows over `mesh`, or on every device where these do not divide them; kept
        until `free`."""
        return self._make_a()

    @functools.cached_property
    def b(self) -> jax.Array:
        """Right-hand sides on every device by default, a vector if there is one."""
        return self._make_b()

    def make(self) -> tuple[jax.Array, jax.Array]:
        """A and b made anew, and there."""
        return self._make_a(), jax.block_until_ready(self._make_b())

    def free(self) -> None:
        """Lets go of A, which is made anew if it is needed again."""
        self.__dict__.pop("a", None)

    def on_one_device(self) -> Problem:
        """The same on the first device, by itself."""
        # A mesh of its own: an array that is only put on a device keeps the old one in its type.
        one = Mesh(self.mesh.devices.reshape(-1)[:1], ("x",))
        return Problem(self._case, one, self.matrix)

    @functools.cached_property
    def _make_a(self) -> Callable[[], jax.Array]:
        return self.matrix.maker(self.mesh)

    def _make_b(self) -> jax.Array:
        case = self._case
        b = right_hand_sides(case.n, case.rhs, case.dtype, case.matrix)
        return jax.device_put(b, NamedSharding(self.mesh, self._b_spec))


@dataclasses.dataclass(frozen=True)
class OnFresh:
    """What is timed, where each run has operands of its own.

    Attributes:
      make: makes the operands before each run, and is timed apart.
      run: takes them, and returns the results when they are there.
    """

    make: Callable[[], tuple[jax.Array, ...]]
    run: Callable[..., Any]


#: What a series is timed by: a function that runs once and returns the results when they are there.
Timed = Callable[[], Any] | OnFresh


def timed(case: Case, problem: Problem, run: Callable[..., Any]) -> Timed:
    """`run` of A and b, made anew each time where the case destroys them or times that too."""

    def there(a: jax.Array, b: jax.Array) -> Any:
        return jax.block_until_ready(run(a, b))

    if case.donate or case.arrays:
        return OnFresh(problem.make, there)
    return lambda: there(problem.a, problem.b)


class Routine(abc.ABC):
    """A routine of jaxmg.

    Attributes:
      baselines: the names of those of `BASELINES` that do the same.
      engines: the names of jaxmg's engines that can run it.
      definite: whether its matrices must be positive definite.
      staged: whether it tells the times of its stages.
    """

    baselines: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("jaxmg",)
    definite: bool = True
    staged: bool = False

    @abc.abstractmethod
    def flops(self, case: Case) -> float:
        """Floating-point operations of the case by the usual count, complex ones as four."""

    @abc.abstractmethod
    def run(self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array) -> Any:
        """Calls jaxmg once."""

    def matrix(self, case: Case) -> Matrix:
        """What A is."""
        return Matrix(case.matrix, case.n, case.dtype, self.definite, case.kappa)

    def problem(self, case: Case, mesh: Mesh) -> Problem:
        """The operands of a case."""
        return Problem(case, mesh, self.matrix(case))

    def run_in_storage(
        self, case: Case, mesh: Mesh, a: jax.Array, b: jax.Array
    ) -> tuple[Any, jax.Array | None]:
        """Calls jaxmg once within a ``jit`` that donates A.

        Returns:
          What `run` returns, and what A's storage becomes, which must leave the ``jit``: XLA
          aliases a donated A with a result of its shape only. None where `run` returns such a one.
        """
        return self.run(case, mesh, a, b), None

    def prepare(self, case: Case, problem: Problem) -> Timed:
        """What is timed of jaxmg: a call by itself, or a program under ``jit`` that is nothing
        but the call."""
        return timed(case, problem, self._call(case, problem.mesh))

    def _call(self, case: Case, mesh: Mesh) -> Callable[..., Any]:
        if not case.jit:
            return functools.partial(self.run, case, mesh)
        if not case.donate:
            return jax.jit(functools.partial(self.run, case, mesh))
        in_storage = jax.jit(functools.partial(self.run_in_storage, case, mesh), donate_argnums=0)
        return lambda a, b: in_storage(a, b)[0]

    @abc.abstractmethod
    def residual(self, case: Case, problem: Problem, result: Any) -> float:
        """LAPACK's scaled residual of a series' result, jaxmg's or a baseline's: about 1 or less
        is good. It may take the result's memory: nobody else needs it."""


def complex_factor(dtype: str) -> int:
    """How many real multiply-adds one of `dtype` counts as."""
    return 4 if np.dtype(dtype).kind == "c" else 1


def _auto(mesh: Mesh) -> Mesh:
    """The same devices, where XLA chooses the shardings of what is computed."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _rows(n: int, mesh: Mesh) -> NamedSharding:
    """By rows where the devices divide them; JAX has no such sharding otherwise."""
    return NamedSharding(mesh, P("x", None) if n % mesh.size == 0 else P())


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


#: Random vectors that stand for all in `inverse_residual`.
SAMPLES = 16


@jax.jit
def _inverse_of_samples(x: jax.Array) -> tuple[jax.Array, ...]:
    v = jax.random.normal(jax.random.key(1), (x.shape[0], SAMPLES), x.dtype)
    return v, _product(x, v), _norm1(x)


@jax.jit
def _back_to_samples(a: jax.Array, xv: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
    return _norm1(v - _product(a, xv)), _norm1(a), _norm1(v)


def _delete(*arrays: Any) -> None:
    for array in arrays:
        if isinstance(array, jax.Array) and not array.is_deleted():
            array.delete()


def inverse_residual(problem: Problem, x: Any) -> float:
    """``||V - A (X V)||_1 / (n eps ||A||_1 ||X||_1 ||V||_1)`` for a few random columns V, which
    costs n^2: about LAPACK's ``||I - A X||_1 / (n eps ||A||_1 ||X||_1)``.

    X is deleted before A is asked for: there may be room for one of them only.
    """
    matrix = problem.matrix
    rows = _rows(matrix.n, _auto(problem.mesh))
    placed = jax.device_put(x, rows)
    v, xv, of_x = jax.block_until_ready(_inverse_of_samples(placed))
    _delete(placed, x)
    r, of_a, of_v = _back_to_samples(jax.device_put(problem.a, rows), xv, v)
    eps = float(np.finfo(matrix.dtype).eps)
    return float(r) / (matrix.n * eps * float(of_a) * float(of_x) * float(of_v))


@jax.jit
def _eigen_of_samples(w: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
    z = jax.random.normal(jax.random.key(1), (v.shape[0], SAMPLES), v.dtype)
    vz = _product(v, z)
    deviation = jnp.linalg.norm(z - _product(v.conj().T, vz))
    return vz, _product(v, w[:, None].astype(v.dtype) * z), deviation


@jax.jit
def _eigen_back(a: jax.Array, vz: jax.Array, vwz: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.linalg.norm(_product(a, vz) - vwz), jnp.linalg.norm(a)


def eigen_residual(problem: Problem, w: Any, v: Any) -> float:
    """The largest of three: ``||A V - V W|| / (n eps ||A||)`` and ``||I - V^H V|| / (n eps)``, in
    the Frobenius norm and estimated with a few random vectors, which costs n^2; and, where the
    eigenvalues are known, their largest error over ``n eps max |w|``.

    V is deleted before A is asked for: there may be room for one of them only.
    """
    matrix, mesh = problem.matrix, _auto(problem.mesh)
    scale = matrix.n * float(np.finfo(matrix.dtype).eps)
    values = np.asarray(w, np.float64)
    placed = jax.device_put(v, _rows(matrix.n, mesh))
    w = jax.device_put(values.astype(np.finfo(matrix.dtype).dtype), NamedSharding(mesh, P()))
    vz, vwz, deviation = jax.block_until_ready(_eigen_of_samples(w, placed))
    _delete(placed, v)
    r, of_a = _eigen_back(jax.device_put(problem.a, _rows(matrix.n, mesh)), vz, vwz)
    found = [float(r) / float(of_a) / np.sqrt(SAMPLES), float(deviation) / np.sqrt(SAMPLES)]
    known = matrix.eigenvalues()
    if known is not None:
        found.append(float(np.max(np.abs(values - known)) / np.max(np.abs(known))))
    return float(np.max(found)) / scale  # NaN if one of them is
