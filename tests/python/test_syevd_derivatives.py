"""jvp, grad, vjp and vmap of eigenvalues and eigenvectors, against those of jnp.linalg.eigh."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import has_whole_matrix
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
    upper_only,
    with_spectrum,
)

import jaxmg
from jaxmg import _compat

SPEC = P("x", None)
TILE = 3


def separated(n, dtype, seed=0):
    """Eigenvalues a tenth apart and more."""
    return with_spectrum(0.1 * np.arange(n) ** 1.5 - 1, dtype, seed)


def by_values(a, mesh, **given):
    """The eigenvalues."""
    return jaxmg.syevd(a, TILE, mesh, return_eigenvectors=False, **given)


def by_vectors(a, mesh, **given):
    """The eigenvalues, and the sine of A: whatever the phases of the eigenvectors."""
    w, v = jaxmg.eigh(a, TILE, mesh, **given)
    n = w.size
    v = _compat.reshard(v, mesh, P())[:n, :n]
    return w, (v * jnp.sin(w)) @ v.conj().T


def dense_values(a):
    return jnp.linalg.eigh(a)[0]


def dense_vectors(a):
    w, v = jnp.linalg.eigh(a)
    return w, (v * jnp.sin(w)) @ v.conj().T


FORMS = {by_values: dense_values, by_vectors: dense_vectors}
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


def bound(dtype):
    """Some n eps over the smallest gap."""
    return 2e3 * np.finfo(dtype).eps


def assert_close(found, wanted):
    """To rounding, measured by the largest entry."""

    def check(x, y):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape and x.dtype == y.dtype
        error = np.max(np.abs(x - y), initial=0)
        assert error <= bound(x.dtype) * np.max(np.abs(y), initial=1), error

    jax.tree.map(check, found, wanted)


def loss(results):
    """A real function of all that a form returns, neither linear nor symmetric."""
    total = 0.0
    for x in jax.tree.leaves(results):
        weights = jnp.cos(jnp.arange(x.size)).reshape(x.shape)
        total += jnp.sum(weights * x.real) ** 2 + jnp.sum((1 - weights**2) * x.imag)
    return total


def cotangents_like(results):
    """Some, not Hermitian."""
    return jax.tree.map(
        lambda x: random_matrix(x.size, 1, x.dtype, 3).reshape(x.shape).astype(x.dtype), results
    )


@functools.cache
def dense_gradient(form):
    """Values and gradients by JAX's own routine."""

    @jax.jit
    def gradient(a, cotangents):
        results, transpose = jax.vjp(FORMS[form], a)
        return results, transpose(cotangents)[0]

    return gradient


@forms
@pytest.mark.parametrize(
    ("rows", "dtype", "axis_type"),
    [
        ("divided", np.float32, AxisType.Explicit),
        ("divided", np.complex64, AxisType.Auto),
        ("divided", np.complex128, AxisType.Explicit),
        ("not divided", np.complex128, AxisType.Explicit),
        ("padded", np.float64, AxisType.Explicit),
        ("one", np.complex128, AxisType.Auto),
        ("fewer than devices", np.float64, AxisType.Auto),
    ],
)
def test_gradients(form, rows, dtype, axis_type):
    """With respect to all entries of A, of which the lower triangle is not read."""
    mesh = device_mesh(axis_type=axis_type)
    size = 2 * DEVICES
    n = {"divided": size, "not divided": 13, "padded": size - 3, "one": 1, "fewer than devices": 5}
    n = max(n[rows], 1)
    a = separated(n, dtype)
    storage = np.full((size if rows in ("padded", "one") else n,) * 2, np.nan, dtype)
    storage[:n, :n] = upper_only(a)

    @jax.jit
    def gradient(a, cotangents):
        results, transpose = jax.vjp(lambda a: form(a, mesh, in_specs=SPEC, n=n), a)
        return results, transpose(cotangents)[0]

    cotangents = cotangents_like(jax.eval_shape(FORMS[form], a))
    found, da = gradient(
        by_rows_or_everywhere(storage, mesh),
        jax.tree.map(lambda x: everywhere(x, mesh), cotangents),
    )
    wanted, da_wanted = dense_gradient(form)(a, cotangents)
    assert_close(found, wanted)
    if len(storage) % DEVICES == 0:
        assert da.sharding.shard_shape(da.shape) == (len(storage) // DEVICES, len(storage))
    da = np.asarray(da)
    assert_close(da[:n, :n], da_wanted)
    assert not np.any(da[n:]) and not np.any(da[:, n:])
    assert_close(da, da.conj().T)


@pytest.mark.parametrize("rows", [0, 2 * DEVICES])
def test_nothing_to_decompose(rows, mesh):
    a = np.full((rows, rows), np.nan)
    gradient = jax.grad(lambda a: loss(tuple(jaxmg.eigh(a, mesh=mesh, n=0))))
    assert np.array_equal(gradient(a), np.zeros_like(a))


@pytest.mark.parametrize(("dtype", "order"), [(np.float64, "eager"), (np.complex128, "jit")])
def test_tangents(dtype, order, mesh):
    """Of padded storage, in a direction that is not Hermitian, and not read beyond the order."""
    n = 2 * DEVICES - 1
    a, d = separated(n, dtype), random_matrix(n, n, dtype, 1)
    storage, direction = (by_rows(np.pad(x, (0, 1), constant_values=np.nan), mesh) for x in (a, d))

    def push(a, d):
        return jax.jvp(lambda a: jaxmg.eigh(a, TILE, mesh, n=n), (a,), (d,))

    (w, v), (dw, dv) = (jax.jit(push) if order == "jit" else push)(storage, direction)
    assert dv.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "x")), 2)
    assert not np.any(np.asarray(dv)[n:]) and not np.any(np.asarray(dv)[:, n:])
    v, dv = np.asarray(v)[:n, :n], np.asarray(dv)[:n, :n]
    m = v.conj().T @ hermitian_part(d) @ v
    f = 1 / (w - w[:, None] + np.eye(n)) - np.eye(n)
    assert_close(dw, np.diag(m).real)
    assert_close(dv, v @ (f * m))
    values, linear = jax.linearize(lambda a: by_values(a, mesh, n=n), storage)
    assert_close((values, linear(direction)), (w, dw))


@pytest.mark.parametrize(
    ("spec", "axis_type"), [(P(None, "x"), AxisType.Explicit), (P("y", "x"), AxisType.Auto)]
)
def test_meshes_and_specs(spec, axis_type):
    """With teams beside each other, and over two axes."""
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=axis_type)
    a = separated(24, np.float64)
    given = jax.device_put(a, NamedSharding(mesh, spec))
    f = functools.partial(by_vectors, mesh=mesh, in_specs=spec)
    gradient = jax.jit(jax.grad(lambda a: loss(f(a))))(given)
    assert_close(gradient, jax.jit(jax.grad(lambda a: loss(dense_vectors(a))))(a))


def test_second_order():
    """In directions that are symmetric, forwards and backwards."""
    mesh = device_mesh(axis_type=AxisType.Explicit)
    n = 2 * DEVICES
    a, d = by_rows(separated(n, np.float64), mesh), by_rows(separated(n, np.float64, 1), mesh)
    check_grads(jax.jit(lambda s: loss(by_vectors(a + s * d, mesh))), (0.02,), 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("form", "dtype", "n"), [(by_vectors, np.complex128, 2 * DEVICES), (by_values, np.float64, 13)]
)
def test_products_with_the_hessian(form, dtype, n, mesh):
    a, d = separated(n, dtype), random_matrix(n, n, dtype, 1)

    def product(f):
        return jax.jit(lambda a: jax.jvp(jax.grad(lambda a: loss(f(a))), (a,), (d,))[1])

    found = product(lambda a: form(a, mesh))(by_rows_or_everywhere(a, mesh))
    assert_close(found, product(FORMS[form])(a))


@forms
def test_one_decomposition(form, mesh):
    """Whatever is derived; without derivatives one without vectors where these are not wanted."""
    a = by_rows(separated(2 * DEVICES, np.float64), mesh)

    def f(a):
        return loss(form(a, mesh))

    def calls(derived):
        text = jax.jit(derived).lower(a).compile().as_text()
        return re.findall(r'custom_call_target="jaxmg_(\w+)".*\bvectors = (\d)', text)

    assert calls(f) == [("syevd", f"{form is by_vectors:d}")]
    assert calls(jax.value_and_grad(f)) == [("syevd", "1")]
    assert calls(lambda a: jax.jvp(f, (a,), (a,))) == [("syevd", "1")]
    assert calls(lambda a: jax.jvp(jax.grad(f), (a,), (a,))) == [("syevd", "1")]


def test_products_that_derivatives_take(mesh):
    """One, 2 n^3 flops, for the eigenvalues'; three with those of the vectors."""
    if PLATFORM != "cpu":
        pytest.skip("products are calls of libraries there")
    a = by_rows(separated(4 * DEVICES, np.float64), mesh)

    def products(f):
        return jax.jit(jax.grad(f)).lower(a).compile().as_text().count(" dot(")

    assert products(lambda a: loss(by_values(a, mesh))) == 1
    assert products(lambda a: loss(jaxmg.eigh(a, TILE, mesh).eigenvalues)) == 1
    assert products(lambda a: loss(jaxmg.eigh(a, TILE, mesh).eigenvectors[0])) == 3


@pytest.mark.parametrize("values_alone", [True, False])
def test_nothing_of_the_size_of_the_matrix_on_one_device(values_alone, mesh):
    """Not in any derivative: beside A and its gradient, a few shards."""
    if DEVICES == 1:
        pytest.skip("one device has all")
    n = 512 * DEVICES
    shard = n * n // DEVICES * 8
    a = jax.ShapeDtypeStruct((n, n), np.float64, sharding=NamedSharding(mesh, SPEC))

    def f(a):
        if values_alone:
            return jnp.sum(jnp.cos(jaxmg.syevd(a, mesh=mesh, return_eigenvectors=False)))
        return jnp.sum(jaxmg.eigh(a, mesh=mesh).eigenvectors[0] ** 3)

    def decompose(a):
        return jaxmg.eigh(a, mesh=mesh)

    def needed(f):
        compiled = jax.jit(f).lower(a).compile()
        assert not has_whole_matrix(compiled.as_text(), n, DEVICES)
        memory = compiled.memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    decomposition = needed(decompose)
    gradient = needed(jax.value_and_grad(f)) - decomposition
    product_with_hessian = needed(lambda a: jax.jvp(jax.grad(f), (a,), (a,))[1]) - decomposition
    if PLATFORM == "cpu":  # workspaces are larger elsewhere
        assert gradient < (1.1 if values_alone else 6) * shard
        assert product_with_hessian < (8 if values_alone else 15) * shard


def test_equal_eigenvalues(mesh):
    """As with jnp.linalg.eigh: vectors have no derivative there, eigenvalues have."""
    n = 4 * DEVICES
    a, d = np.diag(np.repeat([1.0, 2.0], n // 2)), random_matrix(n, n, np.float64)
    given = by_rows(a, mesh)

    def check_sums(dw):
        """Which is all that is determined."""
        assert_close(np.sum(dw.reshape(2, -1), 1), np.sum(np.diag(d).reshape(2, -1), 1))

    for values in (lambda a: by_values(a, mesh), lambda a: jaxmg.eigh(a, TILE, mesh)[0]):
        gradient = jax.jit(jax.grad(lambda a, f=values: jnp.sum(jnp.cos(f(a)))))(given)
        assert_close(gradient, np.diag(-np.sin(np.diag(a))))
        check_sums(jax.jit(lambda a, f=values: jax.jvp(f, (a,), (d,))[1])(given))
    dw, dv = jax.jvp(lambda a: jaxmg.eigh(a, TILE, mesh), (given,), (d,))[1]
    check_sums(dw)
    assert PLATFORM != "cpu" or not np.any(np.isfinite(dv))


def test_eigenvalues_take_no_division(mesh):
    a = by_rows(separated(2 * DEVICES, np.float64), mesh)

    def divides(f):
        derived = jax.make_jaxpr(jax.value_and_grad(lambda a: loss(f(a, mesh))))(a)
        return re.search(r"= div 1\.0", str(derived)) is not None

    assert not divides(by_values)
    assert divides(by_vectors)


@pytest.mark.parametrize(
    ("form", "axis_type"), [(by_vectors, AxisType.Auto), (by_values, AxisType.Explicit)]
)
def test_vmap(form, axis_type):
    """Of a gradient, and under one."""
    mesh = device_mesh(axis_type=axis_type)
    a = np.stack([separated(2 * DEVICES, np.float64, i) for i in range(3)])
    given = jax.device_put(a, NamedSharding(mesh, P(None, "x", None)))

    def check(transform):
        found = jax.jit(transform(lambda a: loss(form(a, mesh, in_specs=SPEC))))(given)
        wanted = jax.jit(transform(lambda a: loss(FORMS[form](a))))(a)
        assert_close(found, wanted)

    check(lambda f: jax.vmap(jax.grad(f)))
    check(lambda f: jax.grad(lambda a: jnp.sum(jax.vmap(f)(a))))


@forms
def test_no_derivative_where_there_are_no_eigenvalues(form, mesh):
    a = separated(2 * DEVICES, np.float64)
    cotangents = cotangents_like(jax.eval_shape(FORMS[form], a))
    a[0, -1] = np.nan
    gradient = jax.jit(lambda a: jax.vjp(lambda a: form(a, mesh), a)[1](cotangents)[0])
    assert np.all(np.isnan(gradient(by_rows(a, mesh))))


def test_status_and_work_have_no_derivative(mesh):
    a = by_rows(separated(2 * DEVICES, np.float64), mesh)

    def push(f):
        return jax.jvp(f, (a,), (a,))

    f = functools.partial(jaxmg.syevd, T_A=TILE, return_status=True, return_info=True)
    (w, _, status, info), (dw, _, dstatus, dinfo) = push(f)
    assert int(status) == int(info) == 0
    assert_close(dw, w)
    assert dstatus.dtype == dinfo.dtype == jax.dtypes.float0
    _, (dwork, dw, dstatus) = push(
        lambda a: jaxmg.syevd_jit_ctx(a, TILE, return_eigenvectors=False)
    )
    assert not np.any(dwork) and dstatus.dtype == jax.dtypes.float0
    assert_close(dw, w)


@pytest.mark.parametrize(("form", "donate"), [(by_values, False), (by_vectors, True)])
def test_donation(form, donate, mesh):
    """Under a transformation the caller's own jit donates; without one nothing is deleted."""
    a = separated(2 * DEVICES, np.float64)
    cotangents = cotangents_like(jax.eval_shape(FORMS[form], a))
    wanted = dense_gradient(form)(a, cotangents)[1]

    def gradient(a):
        return jax.vjp(lambda a: form(a, mesh, donate=donate), a)[1](cotangents)[0]

    given = by_rows(a, mesh)
    assert_close(gradient(given), wanted)
    assert np.array_equal(given, a)
    assert_close(jax.jit(gradient, donate_argnums=0)(given), wanted)
    assert given.is_deleted()
