"""Kept factors: cho_factor, cho_solve, CholeskyFactor."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, device_mesh, inject_fault
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg

BOUND = 10


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("rounds", [0, 1, 13])
def test_factors_and_solves(dtype, devices, rounds):
    n = devices * rounds
    mesh = device_mesh((devices,))
    a, b = spd(n, dtype), random_matrix(n, 3, dtype, 1)
    for tile in (None, 1, 5, 1000):
        factor = jaxmg.cho_factor(by_rows(a, mesh), tile, mesh, P("x", None))
        assert int(factor.info) == 0 and factor.order == n
        for rhs in (b, b[:, 0], b[:, :0]):
            x = factor.solve(rhs)
            assert x.shape == rhs.shape and x.dtype == dtype
            assert residual(a, x, rhs) < BOUND
        expected = np.linalg.slogdet(a)[1] if n else 0.0
        assert factor.logdet().dtype == np.finfo(dtype).dtype
        assert np.isclose(float(factor.logdet()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 7, 53, 97])
def test_any_n(dtype, n, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a, b = spd(n, dtype), random_matrix(n, 2, dtype, 1)
    factor = jaxmg.cho_factor(everywhere(a, mesh), 16, mesh)
    assert residual(a, factor.solve(everywhere(b, mesh)), b) < BOUND


@pytest.mark.parametrize("n", [0, 1, 60, 63, 64])
def test_padded_storage(dtype, n, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a, b = spd(n, dtype), random_matrix(n, 2, dtype, 1)
    storage = np.full((64, 64), np.nan, dtype)
    storage[:n, :n] = a
    factor = jaxmg.cho_factor(by_rows(storage, mesh), 8, n=n)
    assert residual(a, np.asarray(factor.solve(b)), b) < BOUND
    rows = np.concatenate([b, np.full((64 - n, 2), np.nan, dtype)])
    x = np.asarray(factor.solve(rows))
    assert residual(a, x[:n], b) < BOUND
    assert not np.any(x[n:])


@pytest.mark.parametrize("columns", [64 * DEVICES, 100 * DEVICES - 3])
@pytest.mark.parametrize("tile", [None, 7])
def test_many_right_hand_sides_are_spread(dtype, columns, tile, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    n = 12 * DEVICES
    a, b = spd(n, dtype), random_matrix(n, columns, dtype, 1)
    factor = jaxmg.cho_factor(by_rows(a, mesh), tile)
    x = factor.solve(b)
    assert x.shape == b.shape
    assert residual(a, x, b) < BOUND
    if columns % DEVICES == 0:
        assert {s.data.shape for s in x.addressable_shards} == {(n, columns // DEVICES)}


def test_right_hand_sides_keep_their_sharding(axis_type):
    mesh = device_mesh(axis_type=axis_type)
    n = 8 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2 * DEVICES, np.float64, 1)
    factor = jaxmg.cho_factor(by_rows(a, mesh), 4)
    for spec, shape in {
        P(): (n, 2 * DEVICES),
        P("x", None): (8, 2 * DEVICES),
        P(None, "x"): (n, 2),
    }.items():
        x = factor.solve(jax.device_put(b, NamedSharding(mesh, spec)))
        assert residual(a, x, b) < BOUND
        assert {s.data.shape for s in x.addressable_shards} == {shape}


def test_a_pytree_that_passes_through_everything(mesh):
    n = 6 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    factor = jax.jit(lambda a: jaxmg.cho_factor(a, 4, mesh))(by_rows(a, mesh))
    assert isinstance(factor, jaxmg.CholeskyFactor)
    leaves, tree = jax.tree.flatten(factor)
    again = jax.tree.unflatten(tree, leaves)
    again = jax.device_put(again, jax.tree.map(lambda x: x.sharding, again))
    assert residual(a, jax.jit(lambda f, b: f.solve(b))(again, b), b) < BOUND

    def refine(factor, _):
        return factor, factor.solve(b)

    _, xs = jax.lax.scan(refine, factor, None, length=3)
    for x in xs:
        assert residual(a, x, b) < BOUND


def test_ten_solves_cost_ten_substitutions(mesh):
    n = 4 * DEVICES

    def solve_ten(a, bs):
        factor = jaxmg.cho_factor(a, 4, mesh)
        return [factor.solve(b) for b in bs]

    a, bs = spd(n, np.float64), [random_matrix(n, 1, np.float64, i) for i in range(10)]
    compiled = jax.jit(solve_ten).lower(by_rows(a, mesh), bs).compile()
    calls = re.findall(r'custom_call_target="(jaxmg_\w+)"', compiled.as_text())
    assert calls.count("jaxmg_cho_factor") == 1
    assert calls.count("jaxmg_cho_solve") == 10
    for x, b in zip(compiled(by_rows(a, mesh), bs), bs, strict=True):
        assert residual(a, x, b) < BOUND


@pytest.mark.parametrize("donate", [False, True])
def test_donation(dtype, donate, mesh):
    n, tile = 32 * DEVICES, 16
    a = by_rows(spd(n, dtype), mesh)
    given = np.asarray(a).copy()
    factorise = jax.jit(
        lambda a: jaxmg.cho_factor(a, tile, mesh, donate=donate),
        donate_argnums=(0,) if donate else (),
    )
    shard = n * n // DEVICES * dtype.itemsize
    memory = factorise.lower(a).compile().memory_analysis()
    assert memory.alias_size_in_bytes == (shard if donate else 0)
    factor = jaxmg.cho_factor(a, tile, mesh, donate=donate)
    assert a.is_deleted() == donate
    b = random_matrix(n, 2, dtype, 1)
    assert residual(given, factor.solve(b), b) < BOUND
    if not donate:
        assert np.array_equal(a, given)


@pytest.mark.parametrize("broken", ["indefinite", "nan"])
def test_no_factor(dtype, broken, mesh):
    n, minor = 5 * DEVICES, 3 * DEVICES
    a = spd(n, dtype)
    a[minor, minor] = -1 if broken == "indefinite" else np.nan
    factor = jaxmg.cho_factor(by_rows(a, mesh), 3)
    assert int(factor.info) == minor + 1
    assert np.isnan(factor.logdet())
    for columns in (1, 64 * DEVICES):
        assert np.all(np.isnan(factor.solve(random_matrix(n, columns, dtype, 1))))


def test_a_rank_that_fails(mesh):
    n = 16 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    factor = jax.block_until_ready(jaxmg.cho_factor(by_rows(a, mesh), 4))
    for call in (
        lambda: jaxmg.cho_factor(by_rows(a, mesh), 4).info,
        lambda: factor.solve(b),
        lambda: factor.solve(np.ones((n, 64 * DEVICES))),
    ):
        message = inject_fault(DEVICES - 1)
        with pytest.raises(jax.errors.JaxRuntimeError, match=message):
            jax.block_until_ready(call())
        assert residual(a, factor.solve(b), b) < BOUND


def test_messages(mesh):
    a = by_rows(spd(2 * DEVICES, np.float64), mesh)
    factor = jaxmg.cho_factor(a)
    with pytest.raises(
        TypeError, match=r"cho_solve: factor: expected a CholeskyFactor, got .*; pass"
    ):
        jaxmg.cho_solve(a, np.ones(2 * DEVICES))
    with pytest.raises(TypeError, match="cho_solve: b: expected matching A/B dtypes"):
        factor.solve(np.ones(2 * DEVICES, np.float32))
    with pytest.raises(ValueError, match="cho_solve: b: expected matching leading dimensions"):
        factor.solve(np.ones(3))
    with pytest.raises(ValueError, match="cho_factor: a: expected A to be square"):
        jaxmg.cho_factor(jnp.ones((2, 3)), mesh=mesh)
    with pytest.raises(ValueError, match="cho_factor: T_A must be positive"):
        jaxmg.cho_factor(a, 0)
    with pytest.raises(ValueError, match=r"cho_factor: expected global arrays, got local blocks"):
        jax.jit(
            jax.shard_map(
                lambda a: jaxmg.cho_factor(a).info, mesh=mesh, in_specs=P("x", None), out_specs=P()
            )
        )(a)


@pytest.mark.skipif(PLATFORM != "cpu", reason="as on GPUs, but on CPUs")
def test_inverses_of_tiles_on_cpus(dtype, mesh, monkeypatch):
    """Where the inverses of the diagonal tiles are kept, both forms solve with them."""
    monkeypatch.setattr("jaxmg._cho_factor._is_on_gpus", lambda layout: True)
    n = 11 * DEVICES
    a = spd(n, dtype)
    for tile in (None, 4, 7):
        factor = jaxmg.cho_factor(by_rows(a, mesh), tile)
        assert factor.inverses.shape == (n, factor.tile)
        for columns in (1, 3, 64 * DEVICES):
            b = random_matrix(n, columns, dtype, 1)
            assert residual(a, factor.solve(b), b) < BOUND
