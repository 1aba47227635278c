"""`jaxmg.lineax.Cholesky` among lineax's own solvers."""

import doctest
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, device_mesh
from jax.sharding import AxisType
from matrices import by_rows, random_matrix, residual, spd

lx = pytest.importorskip("lineax")
from jaxmg.lineax import Cholesky

TILE = 2


def operator_of(a, tag=lx.positive_semidefinite_tag):
    return lx.MatrixLinearOperator(a, tag)


@pytest.fixture
def problem(dtype):
    n = 3 * DEVICES
    return spd(n, dtype) + n * np.eye(n, dtype=dtype), random_matrix(n, 1, dtype, 1)[:, 0]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_solves(problem, axis_type):
    """Eagerly, and under ``jit`` with a mesh that is known by the array or is given."""
    mesh = device_mesh(axis_type=axis_type)
    a, b = problem

    def solve(a, b):
        return lx.linear_solve(operator_of(a), b, Cholesky(TILE, mesh)).value

    for call in (solve, jax.jit(solve)):
        assert residual(a, call(by_rows(a, mesh), b), b) < 10


def test_negative_definite(problem, mesh):
    a, b = problem
    operator = operator_of(by_rows(-a, mesh), lx.negative_semidefinite_tag)
    x = lx.linear_solve(operator, b, Cholesky(TILE)).value
    assert residual(-a, x, b) < 10


@pytest.mark.parametrize("form", ["transpose", "conj"])
def test_state_of_a_transpose_is_that_of_the_matrix(problem, form, mesh):
    a, b = problem
    solver = Cholesky(TILE)
    state = solver.init(operator_of(by_rows(a, mesh)), {})
    state, _ = getattr(solver, form)(state, {})
    x, result, _ = solver.compute(state, b, {})
    assert result == lx.RESULTS.successful
    assert residual(a.conj(), x, b) < 10


def test_a_kept_state_is_not_factored_again(problem, mesh):
    a, b = problem
    operator, solver = operator_of(by_rows(a, mesh)), Cholesky(TILE, mesh)
    state = jax.jit(lambda: solver.init(operator, {}))()

    def solve(state, b):
        return lx.linear_solve(operator, b, solver, state=state).value

    compiled = jax.jit(solve).lower(state, b).compile()
    assert "jaxmg_cho_factor" not in compiled.as_text()
    assert residual(a, compiled(state, b), b) < 10


def test_derivatives_are_those_of_lineax_own_solver(mesh):
    n = 2 * DEVICES
    a = spd(n, np.float64) + n * np.eye(n)
    b = random_matrix(n, 1, np.float64, 1)[:, 0]

    def loss(solver):
        return lambda a, b: jnp.sum(lx.linear_solve(operator_of(a), b, solver).value ** 2)

    wanted = jax.jit(jax.grad(loss(lx.Cholesky()), (0, 1)))(a, b)
    found = jax.jit(jax.grad(loss(Cholesky(TILE, mesh)), (0, 1)))(by_rows(a, mesh), b)
    for got, expected in zip(found, wanted, strict=True):
        assert np.allclose(got, expected)


def test_not_positive_definite(mesh):
    n = 2 * DEVICES
    a = np.eye(n)
    a[n // 2, n // 2] = -1
    solution = lx.linear_solve(operator_of(by_rows(a, mesh)), np.ones(n), Cholesky(), throw=False)
    assert solution.result == lx.RESULTS.singular
    assert np.all(np.isnan(solution.value))


def test_without_a_tag(mesh):
    operator = lx.MatrixLinearOperator(by_rows(np.eye(DEVICES), mesh))
    with pytest.raises(ValueError, match="expected a positive or negative definite operator"):
        lx.linear_solve(operator, np.ones(DEVICES), Cholesky())


def test_jaxmg_does_not_import_lineax():
    check = "import sys, jaxmg; sys.exit('lineax' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_example_in_the_docstring(mesh):
    (example,) = doctest.DocTestFinder(recurse=False).find(Cholesky, "Cholesky", globs={})
    assert doctest.DocTestRunner().run(example).failed == 0
