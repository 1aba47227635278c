"""A solver for `lineax <https://docs.kidger.site/lineax/>`_; needs ``pip install lineax``."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec as P

from ._cho_factor import CholeskyFactor, cho_factor
from ._layout import AnyMesh


@jax.tree_util.register_static
class Form(NamedTuple):
    """What is solved with the factor of a Hermitian positive definite A."""

    is_negative: bool  #: with -A
    is_conjugate: bool  #: with conj(A) = A^T


class State(NamedTuple):
    """A factor, and the operator that it stands for."""

    factor: CholeskyFactor
    form: Form

    def conjugate(self) -> State:
        return self._replace(form=self.form._replace(is_conjugate=not self.form.is_conjugate))


class Cholesky(lx.AbstractLinearSolver[State]):
    """`cho_factor` and `cho_solve` as a lineax solver, for matrices that are spread over devices.

    As ``lineax.Cholesky``: the operator is positive or negative definite and says so by its tag.
    Its matrix, ``operator.as_matrix()``, is treated as `cho_factor` treats `a`; the state that
    ``solver.init`` gives can be used again by ``linear_solve(..., state=state)``, at the cost of a
    substitution. Derivatives and ``vmap`` are lineax's. Under ``jit`` the matrix should be an
    argument of the jitted function: JAX does not look for devices inside lineax's solve.

    On several devices pass ``throw=False`` to ``linear_solve`` and look at ``solution.result``:
    with lineax's default, ``throw=True``, a matrix that is not positive definite does not raise.
    Equinox's check stops some devices, the others wait for them, and XLA aborts the process.

    Attributes:
      T_A, mesh, in_specs: as in `cho_factor`.

    Raises:
      ValueError: the operator is not tagged as definite; TypeError, ValueError: as in `cho_factor`.

    Example:
      >>> import jax, jax.numpy as jnp, lineax as lx
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> from jaxmg.lineax import Cholesky
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> operator = lx.MatrixLinearOperator(a, lx.positive_semidefinite_tag)
      >>> solution = lx.linear_solve(operator, jnp.ones(16), Cholesky(mesh=mesh), throw=False)
      >>> bool(solution.result == lx.RESULTS.successful)
      True
      >>> print(solution.value[:2])
      [0.25 0.25]
    """

    T_A: int | None = None
    mesh: AnyMesh | None = None
    in_specs: P | None = None

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> State:
        del options
        is_negative = bool(lx.is_negative_semidefinite(operator))
        if not (is_negative or lx.is_positive_semidefinite(operator)):
            raise ValueError(
                "jaxmg.lineax.Cholesky: expected a positive or negative definite operator, got "
                "one without such a tag; pass lineax.MatrixLinearOperator(a, "
                "lineax.positive_semidefinite_tag)"
            )
        matrix = operator.as_matrix()
        factor = cho_factor(-matrix if is_negative else matrix, self.T_A, self.mesh, self.in_specs)
        return State(factor, Form(is_negative, False))

    def compute(
        self, state: State, vector: Any, options: dict[str, Any]
    ) -> tuple[Any, lx.RESULTS, dict[str, Any]]:
        del options
        b, unravel = ravel_pytree(vector)
        # conj(A) x = b  <=>  A conj(x) = conj(b)
        x = (
            state.factor.solve(b.conj()).conj()
            if state.form.is_conjugate
            else state.factor.solve(b)
        )
        is_factor = state.factor.info == 0
        result = lx.RESULTS.where(is_factor, lx.RESULTS.successful, lx.RESULTS.singular)
        return unravel(jnp.negative(x) if state.form.is_negative else x), result, {}

    def transpose(self, state: State, options: dict[str, Any]) -> tuple[State, dict[str, Any]]:
        return state.conjugate(), options

    def conj(self, state: State, options: dict[str, Any]) -> tuple[State, dict[str, Any]]:
        return state.conjugate(), options

    def assume_full_rank(self) -> bool:
        return True
