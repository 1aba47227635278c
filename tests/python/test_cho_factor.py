"""Kept factors: cho_factor, cho_solve, CholeskyFactor."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, cpu_only, device_mesh, inject_fault
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd, upper_only

import jaxmg
from jaxmg import _cho_factor
from jaxmg._cyclic import cyclic_order

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


def test_one_structure_wherever_it_was_made(axis_type):
    """So that a new factor can take the place of an old one in ``scan`` and ``cond``."""
    mesh = device_mesh(axis_type=axis_type)
    n = 3 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    spread = by_rows(a, mesh)
    eager = jaxmg.cho_factor(by_rows(np.eye(n), mesh), 2)
    for kept in (
        jaxmg.cho_factor(spread, 2, AbstractMesh((DEVICES,), ("x",), axis_types=(axis_type,))),
        jax.jit(lambda a: jaxmg.cho_factor(a, 2))(spread),
        jax.jit(lambda a: jaxmg.cho_factor(a, 2, mesh))(spread),
        jax.jit(
            lambda a: jaxmg.cho_factor(a, 2),
            out_shardings=jax.tree.map(lambda x: x.sharding, eager),
        )(spread),
    ):
        assert jax.tree.structure(kept) == jax.tree.structure(eager)
        assert residual(a, kept.solve(b), b) < BOUND

    def again(_, a):
        return jaxmg.cho_factor(a, 2), None

    stack = jax.device_put(np.stack([a, a]), NamedSharding(mesh, P(None, "x", None)))
    last, _ = jax.lax.scan(again, eager, stack)
    assert residual(a, last.solve(b), b) < BOUND
    either = jax.jit(lambda new: jax.lax.cond(new, lambda: again(None, spread)[0], lambda: eager))
    assert residual(a, either(True).solve(b), b) < BOUND


def test_devices_that_were_given_are_known_to_all_calls_of_a_program(mesh):
    a = by_rows(spd(2 * DEVICES, np.float64), mesh)

    def use(a):
        factor = jaxmg.cho_factor(a, 2, mesh)
        return factor.solve(np.ones(len(a))), factor.inverse()

    numbers = re.findall(r"devices = (\d+)", jax.jit(use).lower(a).as_text())
    assert len(numbers) >= 3 and len(set(numbers)) == 1 and numbers[0] != "0"


def moved(factor):
    """A factor after what users do with arrays."""
    return {
        "to host memory": jax.tree.map(np.asarray, factor),
        "to one device": jax.device_put(factor, jax.devices()[-1]),
        "pickled": pickle.loads(pickle.dumps(factor)),
    }


@pytest.mark.parametrize("jitted", [False, True])
def test_comes_back_to_its_devices(axis_type, jitted):
    mesh = device_mesh(axis_type=axis_type)
    n = 2 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    kept = (jax.jit(jaxmg.cho_factor, static_argnums=1) if jitted else jaxmg.cho_factor)(
        by_rows(a, mesh), 2
    )
    for factor in [kept, *moved(kept).values()]:
        for rhs in (b, jax.device_put(b, jax.devices()[-1])):
            x = factor.solve(rhs)
            assert residual(a, x, b) < BOUND and x.sharding.device_set == set(jax.devices())
        assert np.allclose(factor.inverse(), np.linalg.inv(a))
        assert np.isclose(factor.logdet(), np.linalg.slogdet(a)[1])


def test_devices_that_nothing_tells(axis_type):
    """A mesh of some devices, which are only known by an array that is on them."""
    some = device_mesh((max(1, DEVICES // 2),), axis_type=axis_type)
    if some.size == DEVICES:
        pytest.skip("all devices are known")
    n = 2 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    kept = jaxmg.cho_factor(by_rows(a, some), 2)
    for factor in moved(kept).values():
        x = factor.solve(everywhere(b, some))
        assert residual(a, x, b) < BOUND and x.sharding.device_set == set(some.devices.flat)
        with pytest.raises(
            ValueError, match=r"factor: expected its arrays on a mesh of \d+ devices"
        ) as error:
            factor.solve(b)
        line = str(error.value).partition("put it there, ")[2]
        names = {"jax": jax, "NamedSharding": NamedSharding, "P": P, "PartitionSpec": P}
        back = eval(line, names | {"mesh": some, "factor": factor})
        assert residual(a, back.solve(b), b) < BOUND


def test_under_another_mesh(axis_type):
    """A factor on some devices where the context's mesh has all, and the other way round."""
    everyone = device_mesh(axis_type=axis_type)
    some = device_mesh((max(1, DEVICES // 2),), axis_type=axis_type)
    if not hasattr(jax, "set_mesh") or some.size == DEVICES:
        pytest.skip("there is no other")
    n = 2 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    for mesh, other in ((some, everyone), (everyone, some)):
        spread = by_rows(a, mesh)
        for kept in (
            jaxmg.cho_factor(spread, 2),
            jax.jit(lambda a: jaxmg.cho_factor(a, 2))(spread),
        ):
            with jax.set_mesh(other):
                x, logdet, inverse = kept.solve(b), kept.logdet(), kept.inverse()
                logdet_of_new = jaxmg.cho_factor(spread, 2).logdet()
            assert residual(a, x, b) < BOUND
            assert np.isclose(logdet, np.linalg.slogdet(a)[1]) and logdet == logdet_of_new
            assert np.allclose(inverse, np.linalg.inv(a))


def test_compared_and_printed(mesh):
    """By identity, and without what is in the matrix, which need not fit one process."""
    a = by_rows(spd(2 * DEVICES, np.float64), mesh)
    one, other = jaxmg.cho_factor(a, 2), jaxmg.cho_factor(a, 2)
    assert one == one and one != other and len({one, other}) == 2
    wanted = f"CholeskyFactor(order={len(a)}, dtype=float64, tile=2, mesh={mesh.abstract_mesh})"
    assert repr(one) == wanted
    assert "dtype=None" in repr(jax.tree.map(lambda x: None, one))


def unread(factor):
    """Where the storage holds nothing of the factor."""
    n, order = len(factor.storage), factor.order
    row = cyclic_order(n, DEVICES, factor.tile)[:, None]
    return (np.arange(n) < row) | (np.arange(n) >= order)


@pytest.mark.parametrize("as_on_gpus", [False, True])
def test_storage_has_no_memory_as_it_was_found(dtype, as_on_gpus, mesh, monkeypatch):
    """Which may be NaN, and differs from call to call."""
    if as_on_gpus:
        monkeypatch.setattr("jaxmg._cho_calls._is_on_gpus", lambda layout: True)
    n = 16 * DEVICES
    for order, tile in ((n, 5), (n, None), (n - 9, 8)):
        a, b = spd(n, dtype), random_matrix(order, 3, dtype, 1)
        a[order:], a[:, order:] = np.nan, np.nan
        given = by_rows(upper_only(a), mesh)
        with jax.debug_nans(True):
            factor = jaxmg.cho_factor(given, tile, n=order)
        assert not np.any(np.asarray(factor.storage)[unread(factor)])
        again = jaxmg.cho_factor(given, tile, n=order)
        for x, y in zip(jax.tree.leaves(factor), jax.tree.leaves(again), strict=True):
            assert np.array_equal(x, y)
        assert residual(a[:order, :order], factor.solve(b), b) < BOUND
        assert np.allclose(
            np.asarray(factor.inverse())[:order, :order] @ a[:order, :order],
            np.eye(order),
            atol=1e5 * np.finfo(dtype).eps,
        )


@cpu_only
def test_many_right_hand_sides_are_cut_on_their_way(mesh, monkeypatch):
    """Those of NumPy, or of one device, never are on all devices."""
    n, columns = 2 * DEVICES, 64 * DEVICES
    factor = jaxmg.cho_factor(by_rows(spd(n, np.float64), mesh))
    shapes = []

    def solve(factored, b, **known):
        shapes.append(b.sharding.shard_shape(b.shape))
        return compiled(factored, b, **known)

    compiled = _cho_factor._compiled_solve
    monkeypatch.setattr(_cho_factor, "_compiled_solve", solve)
    factor.solve(np.ones((n, columns)))
    factor.solve(jax.device_put(np.ones((n, columns)), jax.devices()[-1]))
    factor.solve(np.ones((n, columns + 1)))
    assert shapes == [(n, columns // DEVICES)] * 2 + [(n, columns + 1)]


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


METHODS = {
    "cho_solve": lambda factor: factor.solve(jnp.ones(2 * DEVICES)),
    "CholeskyFactor.logdet": lambda factor: factor.logdet(),
    "CholeskyFactor.inverse": lambda factor: factor.inverse(),
}


@pytest.mark.parametrize("routine", METHODS)
def test_factors_that_methods_refuse(routine, mesh):
    """A device's part of one, inside a ``shard_map``, and several at once."""
    method = METHODS[routine]
    a = spd(2 * DEVICES, np.float64)
    factor = jaxmg.cho_factor(by_rows(a, mesh), 2)
    local = jax.shard_map(
        lambda a: jnp.sum(a) + jnp.sum(method(factor)),
        mesh=mesh,
        in_specs=P("x", None),
        out_specs=P(),
        check_vma=False,
    )
    message = f"^{re.escape(routine)}: expected global arrays, got local blocks: "
    with pytest.raises(ValueError, match=message):
        local(by_rows(a, mesh))
    with pytest.raises(ValueError, match=message):
        jax.jit(local)(by_rows(a, mesh))
    several = jax.vmap(lambda a: jaxmg.cho_factor(a, 2, mesh))(np.stack([a, 2 * a]))
    with pytest.raises(
        ValueError,
        match=rf"^{re.escape(routine)}: factor: expected that of one matrix.* under jax\.vmap too",
    ):
        method(several)
    assert len(jax.vmap(method)(several)) == 2


@cpu_only
def test_inverses_of_tiles_on_cpus(dtype, mesh, monkeypatch):
    """Where the inverses of the diagonal tiles are kept, both forms solve with them."""
    monkeypatch.setattr("jaxmg._cho_calls._is_on_gpus", lambda layout: True)
    n = 11 * DEVICES
    a = spd(n, dtype)
    for tile in (None, 4, 7):
        factor = jaxmg.cho_factor(by_rows(a, mesh), tile)
        assert factor.inverses.shape == (n, factor.tile)
        for columns in (1, 3, 64 * DEVICES):
            b = random_matrix(n, columns, dtype, 1)
            assert residual(a, factor.solve(b), b) < BOUND
