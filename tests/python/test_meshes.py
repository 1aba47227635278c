"""Several meshes: further axes, sub-meshes, devices in another order, several in one program."""

import threading

import jax
import numpy as np
import pytest
from devices import DEVICES, device_mesh
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg

N, T = 96, 8
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)


@pytest.mark.parametrize(
    "spec", [P("x", None), P("y", None), P(("x", "y"), None), P(("y", "x"), None)]
)
def test_further_axes(spec, axis_type):
    """Devices along axes that A is not sharded over are teams of their own."""
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=axis_type)
    a = jax.device_put(A, NamedSharding(mesh, spec))
    for call in (jaxmg.potrs, jax.jit(lambda a, b: jaxmg.potrs(a, b, T, mesh, spec))):
        x = call(a, everywhere(B, mesh))
        assert residual(A, x, B) < 10
        assert len(x.addressable_shards) == 8
        assert all(np.array_equal(s.data, x) for s in x.addressable_shards)


@pytest.mark.skipif(jax.__version_info__ < (0, 7), reason="JAX 0.6 refuses both in one spec")
@pytest.mark.parametrize("spec", [P("x", None), P("y", None), P(("x", "y"), None)])
def test_axes_of_both_types(spec):
    devices = device_mesh((4, 2), ("x", "y")).devices
    mesh = Mesh(devices, ("x", "y"), axis_types=(AxisType.Explicit, AxisType.Auto))
    a, b = jax.device_put(A, NamedSharding(mesh, spec)), everywhere(B, mesh)

    def call(a, b):
        factor = jaxmg.cho_factor(a, T, mesh, spec)
        x = jaxmg.potrs(a, b, T, mesh, spec)
        return x, factor.solve(b), jaxmg.potri(a, T, mesh, spec), *jaxmg.syevd(a, T, mesh, spec)

    for results in (call(a, b), jax.jit(call)(a, b)):
        x, y, inverse, w, v = map(np.asarray, results)
        for solution in (x, y, inverse @ B, v @ ((v.T @ B) / w[:, None])):
            assert residual(A, solution, B) < 10
    gradient = jax.jit(jax.grad(lambda b: jaxmg.potrs(a, b, T, mesh, spec).sum()))(b)
    assert residual(A, gradient, np.ones_like(B)) < 10


def test_three_axes():
    mesh = device_mesh((2, 2, 2), ("host", "gpu", "batch"))
    a = jax.device_put(A, NamedSharding(mesh, P(("host", "gpu"), None)))
    x = jax.jit(lambda a: jaxmg.potrs(a, B, T, mesh, P(("host", "gpu"), None)))(a)
    assert residual(A, x, B) < 10


SIZE = max(2, DEVICES // 2)
FIRST, LAST = tuple(range(SIZE)), tuple(range(DEVICES - SIZE, DEVICES))
ORDERS = [FIRST, LAST, FIRST[::-1]]


def test_one_jitted_function_on_three_device_sets(axis_type):
    """One trace and one lowering serve all of them: ranks are operands, not attributes."""
    shape = AbstractMesh((SIZE,), ("x",), axis_types=(axis_type,))
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, T, shape, P("x", None), True))
    for _ in range(3):
        for order in ORDERS:
            mesh = device_mesh((len(order),), devices=order, axis_type=axis_type)
            x, status = solve(by_rows(A, mesh), everywhere(B, mesh))
            assert residual(A, x, B) < 10 and int(status) == 0
            assert x.sharding.device_set == set(mesh.devices.flat)


def test_sub_meshes_in_turn():
    everyone = tuple(range(DEVICES))
    for devices in [(0,), (7,), (2, 5), (6, 1, 4), (1, 0), (1,), everyone, everyone[::-1]]:
        if max(devices) >= DEVICES:
            continue
        mesh = device_mesh((len(devices),), devices=devices)
        assert residual(A, jaxmg.potrs(by_rows(A, mesh), B, T), B) < 10


def test_operands_on_the_same_devices_in_another_order(axis_type):
    mesh = device_mesh(axis_type=axis_type)
    backwards = device_mesh(devices=tuple(range(DEVICES))[::-1], axis_type=axis_type)
    for a, b in [
        (by_rows(A, backwards), B),
        (by_rows(A, mesh), everywhere(B, backwards)),
        (by_rows(A, backwards), everywhere(B, backwards)),
    ]:
        x = jaxmg.potrs(a, b, T, mesh, P("x", None))
        assert residual(A, x, B) < 10


def test_an_abstract_mesh_without_devices(mesh):
    shape = AbstractMesh((DEVICES,), ("x",), axis_types=(AxisType.Auto,))
    assert residual(A, jaxmg.potrs(by_rows(A, mesh), B, T, shape, P("x", None)), B) < 10
    if DEVICES == 1:
        return
    expected = r"mesh: expected the mesh of an array that is spread over its .*pass mesh=jax\.make"
    with pytest.raises(ValueError, match=expected):
        jaxmg.potrs(A, B, T, shape, P("x", None))


@pytest.mark.parametrize("same_devices", [False, True])
def test_two_threads(same_devices):
    """Two meshes, from two Python threads at once: disjoint devices, or the same ones reordered."""
    half = max(1, DEVICES // 2)
    orders = [range(half), range(half, 2 * half)]
    if same_devices:
        orders = [FIRST, FIRST[::-1]]
    meshes = [device_mesh((len(order),), devices=order) for order in orders]
    failures = []

    def work(mesh, seed):
        try:
            a, b = spd(N, np.float64, seed), random_matrix(N, 1, np.float64, seed)
            solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, T, mesh, P("x", None)))
            sharded = by_rows(a, mesh), everywhere(b, mesh)
            for _ in range(50):
                assert residual(a, solve(*sharded), b) < 10
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(m, i)) for i, m in enumerate(meshes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_two_meshes_over_the_same_devices_in_one_program():
    flat, grid = device_mesh(), device_mesh((4, 2), ("p", "q"))

    @jax.jit
    def both(a, b):
        x = jaxmg.potrs(a, b, T, flat, P("x", None))
        y = jaxmg.potrs(a, x, T, grid, P("p", None))
        return x, jaxmg.potrs(a, y, T, grid, P(("p", "q"), None))

    x, z = both(by_rows(A, flat), everywhere(B, flat))
    assert residual(A, x, B) < 10
    expected = np.linalg.solve(A, np.linalg.solve(A, x))
    assert np.abs(z - expected).max() < 1e-6 * np.abs(expected).max()


def test_columns_and_blocks_are_resharded():
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=AxisType.Auto)
    for spec in (P(None, "x"), P("x", "y"), P("y", "x"), P(None, ("x", "y"))):
        a = jax.device_put(A, NamedSharding(mesh, spec))
        assert residual(A, jaxmg.potrs(a, B, T), B) < 10
        assert residual(A, jaxmg.potrs(a, B, T, donate=True), B) < 10
