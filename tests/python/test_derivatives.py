"""jvp, grad, vjp and vmap of solves, log-determinants and inverses."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import foreign_calls, has_whole_matrix
from devices import DEVICES, PLATFORM, device_mesh
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads
from matrices import (
    by_rows,
    by_rows_or_everywhere,
    everywhere,
    hermitian_part,
    random_matrix,
    residual,
    spd,
    upper_only,
)

import jaxmg
from jaxmg import _cho_calls

SPEC = P("x", None)
TILE = 3


@pytest.fixture(params=[np.float64, np.complex128], ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return np.dtype(request.param)


def well_conditioned(n, dtype, seed=0):
    return spd(n, dtype, seed, kappa=10)


def loss(x, y=0.0):
    """A real function of what a routine returns, neither linear nor symmetric."""
    weights = jnp.cos(jnp.arange(x.size)).reshape(x.shape)
    return jnp.sum(weights * x.real) ** 2 + jnp.sum((1 - weights**2) * x.imag) + y**2


def by_potrs(a, b, **given):
    return loss(*jaxmg.potrs(a, b, TILE, return_logdet=True, **given))


def by_potrs_alone(a, b, **given):
    return loss(jaxmg.potrs(a, b, TILE, **given))


def by_factor(a, b, **given):
    factor = jaxmg.cho_factor(a, TILE, **given)
    return loss(jaxmg.cho_solve(factor, b), factor.logdet())


def by_inverse_of_factor(a, b, **given):
    inverse = jaxmg.cho_factor(a, TILE, **given).inverse()
    return loss(inverse @ jnp.pad(b, ((0, len(a) - len(b)), (0, 0))))


def by_potri(a, b, **given):
    inverse, logdet = jaxmg.potri(a, TILE, return_logdet=True, **given)
    return loss(inverse @ jnp.pad(b, ((0, len(a) - len(b)), (0, 0))), logdet)


def dense(a, b):
    """The function of a Hermitian matrix of which `by_potrs` and others are forms."""
    a = hermitian_part(a)
    return loss(jnp.linalg.solve(a, b), jnp.linalg.slogdet(a)[1])


def dense_alone(a, b):
    return loss(jnp.linalg.solve(hermitian_part(a), b))


FORMS = {
    by_potrs: dense,
    by_potrs_alone: dense_alone,
    by_factor: dense,
    by_inverse_of_factor: dense_alone,
    by_potri: dense,
}
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


@functools.cache
def dense_gradients(form):
    """Value and gradients by JAX's own routines."""
    return jax.jit(jax.value_and_grad(FORMS[form], (0, 1)))


@pytest.mark.parametrize(
    ("form", "dtype", "axis_type"),
    [
        (by_potrs, np.complex128, AxisType.Auto),
        (by_factor, np.float64, AxisType.Explicit),
        (by_inverse_of_factor, np.float64, AxisType.Auto),
        (by_potri, np.complex128, AxisType.Auto),
        (by_potri, np.float64, AxisType.Explicit),
    ],
)
def test_second_order(form, dtype, axis_type):
    """In Hermitian directions, forwards and backwards."""
    mesh = device_mesh(axis_type=axis_type)
    n = 2 * DEVICES
    a, d = by_rows(well_conditioned(n, dtype), mesh), by_rows(spd(n, dtype, 1), mesh)
    b = everywhere(random_matrix(n, 2, dtype, 2), mesh)

    @jax.jit
    def f(s, t):
        return form(a + s * d, t * b, mesh=mesh)

    check_grads(f, (0.1, 0.9), 2, rtol=1e-4)


@forms
@pytest.mark.parametrize("rows", ["divided", "not divided", "padded"])
@pytest.mark.parametrize(
    ("dtype", "axis_type"), [(np.complex128, AxisType.Auto), (np.float64, AxisType.Explicit)]
)
def test_gradients(form, rows, dtype, axis_type):
    """With respect to all entries of A and b, of which A's lower triangle is not read."""
    mesh = device_mesh(axis_type=axis_type)
    n = max({"divided": 2 * DEVICES, "not divided": 13, "padded": 2 * DEVICES - 3}[rows], 1)
    a, b = well_conditioned(n, dtype), random_matrix(n, 2, dtype, 1)
    storage = np.full((2 * DEVICES if rows == "padded" else n,) * 2, np.nan, dtype)
    storage[:n, :n] = upper_only(a)

    def f(a, b):
        return form(a, b, mesh=mesh, in_specs=SPEC, n=n)

    found, (da, db) = jax.jit(jax.value_and_grad(f, (0, 1)))(
        by_rows_or_everywhere(storage, mesh), everywhere(b, mesh)
    )
    wanted, (da_wanted, db_wanted) = dense_gradients(form)(a, b)
    if len(storage) % DEVICES == 0:
        assert da.sharding.shard_shape(da.shape) == (len(storage) // DEVICES, len(storage))
    da = np.asarray(da)
    assert np.allclose(found, wanted)
    assert np.allclose(da[:n, :n], da_wanted) and np.allclose(db, db_wanted)
    assert not np.any(da[n:]) and not np.any(da[:, n:])


@pytest.mark.parametrize("form", [by_factor, by_potri], ids=lambda form: form.__name__)
def test_tangents_are_not_read_beyond_the_true_order(form, mesh):
    n = 2 * DEVICES - 1
    a, d = well_conditioned(n, np.float64), spd(n, np.float64, 1)
    b = random_matrix(n, 2, np.float64, 2)
    storage, tangent = (by_rows(np.pad(x, (0, 1), constant_values=np.nan), mesh) for x in (a, d))

    def directional(f, *operands):
        return jax.jit(lambda a, d: jax.jvp(f, (a,), (d,)))(*operands)

    found = directional(lambda a: form(a, b, n=n, mesh=mesh), storage, tangent)
    wanted = directional(lambda a: FORMS[form](a, b), a, d)
    assert np.allclose(found, wanted)


@pytest.mark.parametrize("order", ["eager", "jit"])
def test_likelihood_of_a_gaussian_process(dtype, order, mesh):
    """b^H A^-1 b + log det A has the gradient A^-1 - x x^H, in JAX's convention its conjugate."""
    n = 3 * DEVICES
    a, b = well_conditioned(n, dtype), random_matrix(n, 1, dtype, 1)[:, 0]

    def likelihood(a):
        x, logdet = jaxmg.potrs(a, b, TILE, return_logdet=True)
        return jnp.vdot(b, x).real + logdet

    gradient = jax.grad(likelihood)
    found = (jax.jit(gradient) if order == "jit" else gradient)(by_rows(a, mesh))
    x = np.linalg.solve(a, b)
    assert np.allclose(found, (np.linalg.inv(a) - np.outer(x, x.conj())).conj())


LOGDETS = {
    "potrs": lambda a, b: jaxmg.potrs(a, b, TILE, return_logdet=True)[1],
    "cho_factor": lambda a, b: jaxmg.cho_factor(a, TILE).logdet(),
    "potri": lambda a, b: jaxmg.potri(a, TILE, return_logdet=True)[1],
}


@pytest.mark.parametrize("order", ["eager", "jit"])
@pytest.mark.parametrize("routine", LOGDETS)
def test_log_determinant_alone(routine, order, mesh):
    """The other results have no cotangent then."""
    n = 2 * DEVICES
    a, b = well_conditioned(n, np.float64), np.ones(n)
    gradient = jax.grad(lambda a: LOGDETS[routine](a, b))
    found = (jax.jit(gradient) if order == "jit" else gradient)(by_rows(a, mesh))
    assert np.allclose(found, np.linalg.inv(a))


@pytest.mark.parametrize("spec", [P(), SPEC, P(None, "x")], ids=str)
@pytest.mark.parametrize("form", [by_potrs, by_factor], ids=lambda form: form.__name__)
def test_right_hand_sides_in_all_shardings(form, spec, axis_type):
    """And a vector, where it can be sharded like that."""
    mesh = device_mesh(axis_type=axis_type)
    n = 2 * DEVICES
    a = well_conditioned(n, np.float64)
    gradient = jax.jit(jax.grad(lambda a, b: form(a, b, mesh=mesh), (0, 1)))
    for b in (random_matrix(n, DEVICES, np.float64, 1), random_matrix(n, 1, np.float64, 2)[:, 0]):
        if b.ndim < len(spec):
            continue
        found = gradient(by_rows(a, mesh), jax.device_put(b, NamedSharding(mesh, spec)))
        for got, wanted in zip(found, dense_gradients(form)(a, b)[1], strict=True):
            assert np.allclose(got, wanted)


def test_second_derivatives_with_many_right_hand_sides(mesh):
    """So many that each device has its own."""
    n = 2 * DEVICES
    a, d = well_conditioned(n, np.float64), spd(n, np.float64, 1)
    b = random_matrix(n, 64 * DEVICES + 3, np.float64, 2)

    def second(f, a, d):
        return jax.jvp(jax.grad(f), (a, b), (d, b))[1]

    found = jax.jit(lambda a, d: second(by_factor, a, d))(by_rows(a, mesh), by_rows(d, mesh))
    assert np.allclose(found, second(dense, a, d))


def test_the_unread_triangle_is_in_no_product(mesh, monkeypatch):
    """Not even times zero, where the tangent that x has not got is an array of zeros."""
    n = 2 * DEVICES
    a, d = well_conditioned(n, np.float64), spd(n, np.float64, 1)
    b = random_matrix(n, 2, np.float64, 2)
    product = _cho_calls.hermitian_product
    monkeypatch.setattr(
        _cho_calls,
        "hermitian_product",
        lambda a, x, *rest: product(a, x * (1 + 0 * a[0, 0]), *rest),
    )

    @jax.jit
    def tangent(a, d):
        upper = jnp.where(np.tri(n, k=-1, dtype=bool), np.nan, a)
        factor = functools.partial(jaxmg.cho_factor, T_A=TILE, mesh=mesh, donate=True)
        return jax.jvp(lambda a: factor(a).solve(b), (upper,), (d,))

    x, x_dot = tangent(by_rows(a, mesh), by_rows(d, mesh))
    assert residual(a, x, b) < 10
    assert np.allclose(x_dot, -np.linalg.solve(a, d @ x))


def test_one_factorisation(mesh):
    """Whatever is derived: each further derivative of a solve takes further substitutions."""
    n = 2 * DEVICES
    a, b = by_rows(well_conditioned(n, np.float64), mesh), random_matrix(n, 2, np.float64, 1)
    once = {"cho_factor": 1, "cho_solve": 2}
    assert foreign_calls(by_potrs_alone, a, b) == {"potrs": 1}
    assert foreign_calls(jax.value_and_grad(by_potrs_alone, (0, 1)), a, b) == once
    assert foreign_calls(jax.value_and_grad(by_potrs_alone, 1), a, b) == once
    assert foreign_calls(lambda a, b: jax.jvp(by_potrs_alone, (a, b), (a, b)), a, b) == once
    for f in (by_potrs, by_factor):
        assert foreign_calls(jax.value_and_grad(f), a, b) == once | {"cho_inverse": 1}
    assert foreign_calls(jax.grad(by_inverse_of_factor), a, b) == {
        "cho_factor": 1,
        "cho_inverse": 1,
    }
    assert foreign_calls(jax.value_and_grad(by_potri), a, b) == {"potri": 1}

    def product_with_hessian(a, b):
        return jax.jvp(jax.grad(by_potrs_alone), (a, b), (a, b))[1]

    assert foreign_calls(product_with_hessian, a, b) == {"cho_factor": 1, "cho_solve": 4}


@forms
def test_nothing_of_the_size_of_the_matrix_on_one_device(form, mesh):
    """Not in any derivative: beside A and its gradient, a few shards."""
    if DEVICES == 1:
        pytest.skip("one device has all")
    n = 128 * DEVICES
    shard = n * n // DEVICES * 8
    a = jax.ShapeDtypeStruct((n, n), np.float64, sharding=NamedSharding(mesh, SPEC))
    b = jax.ShapeDtypeStruct((n, 2), np.float64, sharding=NamedSharding(mesh, P()))
    compiled = jax.jit(jax.value_and_grad(lambda a, b: form(a, b, mesh=mesh))).lower(a, b).compile()
    assert not has_whole_matrix(compiled.as_text(), n, DEVICES)
    if PLATFORM != "cpu":
        return  # workspaces are larger there
    memory = compiled.memory_analysis()
    assert memory.output_size_in_bytes < 1.1 * shard
    few = 8 if form in (by_potri, by_inverse_of_factor) else 3
    assert memory.temp_size_in_bytes < few * shard


def test_ten_solves_cost_ten_substitutions(mesh):
    """In a loop one call is compiled, and the factorisation is not in the loop."""
    n = 2 * DEVICES
    a, b = well_conditioned(n, np.float64), random_matrix(n, 1, np.float64, 1)

    def ten_steps(a, b):
        factor = jaxmg.cho_factor(a, TILE, mesh)
        return jax.lax.fori_loop(0, 10, lambda _, x: factor.solve(x), b)

    compiled = jax.jit(ten_steps).lower(by_rows(a, mesh), b).compile()
    assert np.allclose(
        compiled(by_rows(a, mesh), b), np.linalg.matrix_power(np.linalg.inv(a), 10) @ b
    )
    # A computation of the compiled program begins at the margin; the loop's body is one of them.
    computations = re.split(r"\n(?=\S)", compiled.as_text())
    (outside,) = [text for text in computations if 'target="jaxmg_cho_factor"' in text]
    (body,) = [text for text in computations if 'target="jaxmg_cho_solve"' in text]
    assert outside.count('target="jaxmg_cho_factor"') == body.count('target="jaxmg_cho_solve"') == 1
    assert body is not outside and outside.startswith("ENTRY")


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("form", [by_potrs, by_factor, by_potri], ids=lambda form: form.__name__)
def test_donation(form, donate, mesh):
    """Under a transformation the caller's own jit donates; without one nothing is deleted."""
    n = 2 * DEVICES
    a, b = well_conditioned(n, np.float64), random_matrix(n, 2, np.float64, 1)
    wanted = dense_gradients(form)(a, b)[1][0]
    gradient = jax.grad(lambda a: form(a, b, donate=donate))
    given = by_rows(a, mesh)
    assert np.allclose(gradient(given), wanted)
    assert np.array_equal(given, a)
    assert np.allclose(jax.jit(gradient, donate_argnums=0)(given), wanted)
    assert given.is_deleted()


def test_status_has_no_derivative(mesh):
    n = 2 * DEVICES
    a, b = by_rows(well_conditioned(n, np.float64), mesh), random_matrix(n, 2, np.float64, 1)

    def f(a):
        return jaxmg.potrs(a, b, TILE, return_status=True, return_info=True)

    primals, tangents = jax.jvp(f, (a,), (a,))
    assert int(primals[1]) == int(primals[2]) == 0
    assert np.allclose(tangents[0], -np.asarray(primals[0]))
    assert tangents[1].dtype == tangents[2].dtype == jax.dtypes.float0
    factor, tangent = jax.jvp(lambda a: jaxmg.cho_factor(a, TILE), (a,), (a,))
    assert tangent.info.dtype == jax.dtypes.float0
    assert np.allclose(jax.jvp(lambda f: f.solve(b), (factor,), (tangent,))[1], tangents[0])
    _, x_dot, _ = jax.jvp(lambda a: jaxmg.potrs_jit_ctx(a, b, TILE), (a,), (a,))[1]
    assert np.allclose(x_dot, tangents[0])


@forms
def test_no_derivative_where_there_is_no_factor(form, mesh):
    n = 2 * DEVICES
    a, b = well_conditioned(n, np.float64), random_matrix(n, 2, np.float64, 1)
    a[n // 2, n // 2] = -1
    da, db = jax.jit(jax.grad(form, (0, 1)))(by_rows(a, mesh), b)
    assert np.all(np.isnan(da)) and np.all(np.isnan(db))


BATCHES = {"b": (None, 0), "a": (0, None), "both": (0, 0)}


@pytest.mark.parametrize("batched", BATCHES)
@pytest.mark.parametrize(
    ("form", "axis_type"), [(by_potrs, AxisType.Auto), (by_factor, AxisType.Explicit)]
)
def test_vmap(form, axis_type, batched):
    """By itself, of a gradient, and under one."""
    mesh = device_mesh(axis_type=axis_type)
    n, axes = 2 * DEVICES, BATCHES[batched]
    a = np.stack([well_conditioned(n, np.float64, i) for i in range(3)])
    b = np.stack([random_matrix(n, 2, np.float64, i) for i in range(3)])
    a, b = (x if axis == 0 else x[0] for x, axis in zip((a, b), axes, strict=True))
    spec = P(*[None] * (a.ndim - 2), "x", None)
    operands = jax.device_put(a, NamedSharding(mesh, spec)), everywhere(b, mesh)

    def check(transform):
        found = jax.jit(transform(lambda a, b: form(a, b, mesh=mesh, in_specs=SPEC)))(*operands)
        wanted = jax.jit(transform(dense))(a, b)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-7), found, wanted)

    check(lambda f: jax.vmap(f, axes))
    check(lambda f: jax.vmap(jax.grad(f, (0, 1)), axes))
    check(lambda f: jax.grad(lambda a, b: jnp.sum(jax.vmap(f, axes)(a, b)), (0, 1)))


@pytest.mark.parametrize("columns", [2, 64 * DEVICES])
def test_vmap_over_right_hand_sides_is_more_columns(columns, mesh):
    n = 2 * DEVICES
    a = by_rows(well_conditioned(n, np.float64), mesh)
    b = random_matrix(columns, n, np.float64, 1)

    def solve(a, b):
        return jaxmg.potrs(a, b, TILE)

    def kept(a, b):
        return jaxmg.cho_factor(a, TILE).solve(b)

    for f, calls in ((solve, {"potrs": 1}), (kept, {"cho_factor": 1, "cho_solve": 1})):
        over_b = jax.vmap(lambda a, b, f=f: f(a, b), (None, 0))
        text = jax.jit(over_b).lower(a, b).compile().as_text()
        assert "while" not in text
        assert foreign_calls(over_b, a, b) == calls
        assert np.allclose(over_b(a, b), np.linalg.solve(a, b.T).T)
        twice = jax.vmap(over_b, (None, 0))
        assert np.allclose(twice(a, b.reshape(2, -1, n)), over_b(a, b).reshape(2, -1, n))


def test_vmap_over_matrices_inverts_one_by_one(mesh, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    n = 2 * DEVICES
    a = np.stack([well_conditioned(n, np.float64, i) for i in range(3)])
    given = jax.device_put(a, NamedSharding(mesh, P(None, "x", None)))
    wanted = np.linalg.inv(a)
    assert np.allclose(jax.vmap(lambda a: jaxmg.potri(a, TILE, mesh, SPEC))(given), wanted)

    def by_factor(a):
        return jaxmg.cho_factor(a, TILE, mesh, SPEC).inverse()

    assert np.allclose(jax.vmap(by_factor)(given), wanted)


def test_vmap_over_local_blocks(mesh):
    """A sequence of calls, as every device makes them in the same order."""
    n = 2 * DEVICES
    a = np.stack([well_conditioned(n, np.float64, i) for i in range(3)])
    b = random_matrix(n, 2, np.float64, 1)

    def local(a, b):
        x = jax.vmap(lambda a: jaxmg.potrs_shardmap_ctx(a, b, TILE)[0])(a)
        rows = jax.vmap(lambda a: jaxmg.potri_shardmap_ctx(a, TILE)[0])(a)
        return x, rows

    specs = P(None, "x", None)
    call = jax.shard_map(
        local, mesh=mesh, in_specs=(specs, P()), out_specs=(P(), specs), check_vma=False
    )
    x, inverse = jax.jit(call)(jax.device_put(a, NamedSharding(mesh, specs)), b)
    assert np.allclose(x, np.linalg.solve(a, b)) and np.allclose(inverse, np.linalg.inv(a))


def test_rules_that_are_not_there(mesh):
    n = 2 * DEVICES
    a, b = by_rows(well_conditioned(n, np.float64), mesh), random_matrix(n, 2, np.float64, 1)

    def inside(local, operands, in_specs, out_specs):
        call = jax.shard_map(
            local, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return lambda *x: jnp.sum(jax.jit(call)(*x)), operands

    solve = inside(lambda a, b: jaxmg.potrs_shardmap_ctx(a, b)[0], (a, b), (SPEC, P()), P())
    invert = inside(lambda a: jaxmg.potri_shardmap_ctx(a)[0], (a,), SPEC, SPEC)
    decompose = inside(
        lambda a: jaxmg.syevd_shardmap_ctx(a, return_eigenvectors=False)[0], (a,), SPEC, P()
    )
    cyclic = lambda a: jnp.sum(jaxmg.cyclic_1d(a, TILE, mesh)), (a,)
    for name, (f, operands) in {
        "potrs_shardmap_ctx": solve,
        "potri_shardmap_ctx": invert,
        "syevd_shardmap_ctx": decompose,
        "cyclic_1d": cyclic,
    }.items():
        message = rf"^jaxmg\.{name} has no rule for jax\.grad, jax\.vjp or jax\.jvp; "
        with pytest.raises(NotImplementedError, match=message):
            jax.grad(f)(*operands)
        with pytest.raises(NotImplementedError, match=message):
            jax.jvp(f, operands, operands)
    with pytest.raises(NotImplementedError, match=r"^jaxmg\.cyclic_1d has no rule for jax\.vmap; "):
        jax.vmap(cyclic[0])(a[None])
