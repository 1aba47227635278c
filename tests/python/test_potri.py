"""Inverses: potri, its 0.0.x forms, and the inverse of a kept factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, device_mesh, inject_fault
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, spd, upper_only

import jaxmg

BOUND = 10

pytestmark = pytest.mark.usefixtures("engine")


def residual(a, x):
    """``||I - A X||_1 / (n eps ||A||_1 ||X||_1)``."""
    n = a.shape[0]
    if n == 0:
        return 0.0
    x = np.asarray(x)
    wide = np.complex128 if np.iscomplexobj(a) else np.float64
    r = np.eye(n) - a.astype(wide) @ x.astype(wide)
    eps = np.finfo(a.dtype).eps
    return np.linalg.norm(r, 1) / (n * eps * np.linalg.norm(a, 1) * np.linalg.norm(x, 1))


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("rounds", [0, 1, 13])
def test_inverts(dtype, devices, rounds):
    n = devices * rounds
    mesh = device_mesh((devices,))
    a = spd(n, dtype)
    for tile in (None, 1, 5, 1000):
        x = jaxmg.potri(by_rows(upper_only(a), mesh), tile, mesh, P("x", None))
        assert x.shape == a.shape and x.dtype == dtype
        assert residual(a, x) < BOUND
        assert np.array_equal(x, np.asarray(x).conj().T)
        factor = jaxmg.cho_factor(by_rows(upper_only(a), mesh), tile)
        assert residual(a, factor.inverse()) < BOUND
        if n:
            assert {s.data.shape for s in x.addressable_shards} == {(rounds, n)}


@pytest.mark.parametrize("n", [1, 7, 53, 97])
def test_any_n(dtype, n, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = spd(n, dtype)
    assert residual(a, jaxmg.potri(everywhere(a, mesh), 16, mesh)) < BOUND
    assert residual(a, jaxmg.cho_factor(everywhere(a, mesh), 16, mesh).inverse()) < BOUND


@pytest.mark.parametrize("n", [0, 1, 60, 64])
def test_padded_storage(dtype, n, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = spd(n, dtype)
    storage = np.full((64, 64), np.nan, dtype)
    storage[:n, :n] = a
    for x in (
        jaxmg.potri(by_rows(storage, mesh), 8, n=n),
        jaxmg.cho_factor(by_rows(storage, mesh), 8, n=n).inverse(),
    ):
        x = np.asarray(x)
        assert x.shape == (64, 64)
        assert residual(a, x[:n, :n]) < BOUND
        assert not np.any(x[n:]) and not np.any(x[:, n:])


def test_results(dtype, mesh):
    n = 4 * DEVICES
    a = spd(n, dtype)
    call = [by_rows(a, mesh), 3, mesh, P("x", None)]
    inverse, status = jaxmg.potri(*call, True, False)
    assert residual(a, inverse) < BOUND
    assert (status.shape, status.dtype, int(status)) == ((), np.int32, 0)
    _, logdet, status, info = jaxmg.potri(
        *call, return_logdet=True, return_status=True, return_info=True
    )
    assert logdet.dtype == np.finfo(dtype).dtype
    assert np.isclose(float(logdet), np.linalg.slogdet(a)[1], rtol=1e-4)
    assert (info.dtype, int(info)) == (np.int32, 0)


@pytest.mark.parametrize("donate", [False, True])
def test_donation(dtype, donate, mesh):
    n, tile = 32 * DEVICES, 16
    a = by_rows(spd(n, dtype), mesh)
    given = np.asarray(a).copy()
    invert = jax.jit(
        lambda a: jaxmg.potri(a, tile, mesh, donate=donate), donate_argnums=(0,) if donate else ()
    )
    memory = invert.lower(a).compile().memory_analysis()
    shard = n * n // DEVICES * dtype.itemsize
    assert memory.alias_size_in_bytes == (shard if donate else 0)
    x = jaxmg.potri(a, tile, mesh, donate=donate)
    assert a.is_deleted() == donate
    assert residual(given, x) < BOUND
    if not donate:
        assert np.array_equal(a, given)


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("tile", [256, 1024])
def test_workspace(dtype, tile, ranks, platform):
    """Some tile columns, little beside the matrix itself."""
    from jaxmg._library import Sizes, potri_workspace

    for n in (12288, 49152, 131072 // ranks * ranks):
        size = potri_workspace(Sizes(platform, dtype, n, n, ranks, tile), True)
        assert size <= 5 * tile * n * dtype.itemsize + 65536


def test_local_blocks(dtype, mesh):
    n = 5 * DEVICES
    a = spd(n, dtype)

    def local(a):
        return jaxmg.potri_shardmap_ctx(a, 4, False)

    invert = jax.shard_map(
        local, mesh=mesh, in_specs=P("x", None), out_specs=(P("x", None), P()), check_vma=False
    )
    block, status = jax.jit(invert)(by_rows(a, mesh))
    assert residual(a, block) < BOUND
    assert (status.shape, status.dtype, int(status[0])) == ((1,), np.int32, 0)
    assert residual(a, jaxmg.potri_symmetrize(jnp.triu(block))) < BOUND


@pytest.mark.parametrize("shape", [(4, 3), (4,)])
def test_symmetrize_names_its_argument(shape):
    with pytest.raises(ValueError, match=r"potri_symmetrize: _a: expected a square matrix, got fl"):
        jaxmg.potri_symmetrize(jnp.ones(shape))


@pytest.mark.parametrize("broken", ["indefinite", "nan"])
@pytest.mark.parametrize("tile", [None, 3])
def test_no_inverse(dtype, broken, tile, mesh):
    n, minor = 5 * DEVICES, 3 * DEVICES
    a = spd(n, dtype)
    a[minor, minor] = -1 if broken == "indefinite" else np.nan
    x, logdet, status, info = jaxmg.potri(
        by_rows(a, mesh), tile, return_logdet=True, return_status=True, return_info=True
    )
    assert (int(info), int(status)) == (minor + 1, 7)
    assert np.all(np.isnan(x)) and np.isnan(logdet)
    assert np.all(np.isnan(jaxmg.cho_factor(by_rows(a, mesh), tile).inverse()))


def test_a_rank_that_fails(mesh):
    n = 16 * DEVICES
    a = spd(n, np.float64)
    factor = jax.block_until_ready(jaxmg.cho_factor(by_rows(a, mesh), 4))
    for call in (lambda: jaxmg.potri(by_rows(a, mesh), 4), factor.inverse):
        message = inject_fault(DEVICES - 1)
        with pytest.raises(jax.errors.JaxRuntimeError, match=message):
            jax.block_until_ready(call())
        assert residual(a, jaxmg.potri(by_rows(a, mesh), 4)) < BOUND


def test_messages(mesh):
    a = by_rows(spd(2 * DEVICES, np.float64), mesh)
    with pytest.raises(ValueError, match="potri: a: expected A to be square"):
        jaxmg.potri(jnp.ones((2, 3)), mesh=mesh)
    with pytest.raises(ValueError, match="potri: T_A must be positive"):
        jaxmg.potri(a, 0)
    with pytest.raises(TypeError, match="potri: a: supports float32"):
        jaxmg.potri(jnp.ones((2, 2), np.int32), mesh=mesh)
    with pytest.raises(ValueError, match="potri_shardmap_ctx: expected local blocks"):
        jaxmg.potri_shardmap_ctx(a)
    with pytest.raises(ValueError, match="potri: expected global arrays, got local blocks"):
        jax.jit(
            jax.shard_map(jaxmg.potri, mesh=mesh, in_specs=P("x", None), out_specs=P("x", None))
        )(a)
