"""Eigenvalues and eigenvectors: syevd in both call families, and eigh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, device_mesh, inject_fault
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, hermitian_part, norm1, random_matrix, upper_only

import jaxmg
from jaxmg import _library

BOUND = 10

pytestmark = pytest.mark.usefixtures("engine")


def hermitian(n, dtype, seed=0):
    return hermitian_part(random_matrix(n, n, dtype, seed)).astype(dtype)


def check(a, w, v=None):
    """LAPACK's scaled residuals, and the eigenvalues against NumPy's."""
    n = len(a)
    wide = a.astype(np.complex128 if np.iscomplexobj(a) else np.float64)
    eps = np.finfo(a.dtype).eps
    scale = max(n, 1) * eps * max(norm1(wide), np.finfo(a.dtype).tiny)
    w = np.asarray(w)
    assert w.shape == (n,) and w.dtype == np.finfo(a.dtype).dtype
    assert np.all(np.diff(w) >= 0)
    expected = np.linalg.eigvalsh(wide) if n else np.zeros(0)
    assert np.max(np.abs(w - expected), initial=0) < BOUND * scale
    if v is None:
        return
    assert v.shape == a.shape and v.dtype == a.dtype
    v = np.asarray(v).astype(wide.dtype)
    assert norm1(wide @ v - v * w.astype(np.float64)) < BOUND * scale
    assert norm1(np.eye(n) - v.conj().T @ v) < BOUND * max(n, 1) * eps


def is_by_columns(v, mesh, axes="x"):
    return v.sharding.is_equivalent_to(NamedSharding(mesh, P(None, axes)), 2)


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_decomposes(dtype, devices, rounds):
    n = devices * rounds
    mesh = device_mesh((devices,))
    a = hermitian(n, dtype)
    given = by_rows(upper_only(a), mesh)
    for tile in (None, 3):
        w, v = jaxmg.syevd(given, tile, mesh, P("x", None))
        check(a, w, v)
        if n:
            assert is_by_columns(v, mesh) and w.sharding.is_fully_replicated
    check(a, jaxmg.syevd(given, tile, mesh, P("x", None), False))


@pytest.mark.parametrize("devices", range(1, 9))
def test_every_number_of_devices(devices):
    a = hermitian(6 * devices, np.complex64)
    check(a, *jaxmg.syevd(by_rows(a, device_mesh((devices,))), 4))


@pytest.mark.parametrize("tile", [None, 4])
@pytest.mark.parametrize("up", [False, True])
def test_graded(dtype, up, tile, mesh):
    """Entries from one end of the dtype's range to the other, 1e300 to 1e-300 in float64."""
    n = 5 * DEVICES
    ends = 150 if np.finfo(dtype).dtype == np.float64 else 18
    grades = 10.0 ** np.linspace(ends, -ends, n)[:: -1 if up else 1]
    a = hermitian(n, np.result_type(dtype, np.float64)) * grades[:, None] * grades
    a = a.astype(dtype)
    check(a, *jaxmg.syevd(by_rows(a, mesh), tile))


@pytest.mark.parametrize("tile", [1, 1000])
def test_extreme_tiles(tile, mesh):
    a = hermitian(5 * DEVICES, np.complex128)
    check(a, *jaxmg.syevd(by_rows(a, mesh), tile))


@pytest.mark.parametrize("n", [1, 7, 53])
def test_any_n(n, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = hermitian(n, np.complex64)
    check(a, *jaxmg.syevd(everywhere(upper_only(a), mesh), None, mesh))
    check(a, *jax.jit(lambda a: jaxmg.eigh(a, 4, mesh))(a))


@pytest.mark.parametrize("n", [0, 1, 29, 32])
def test_padded_storage(n, axis_type):
    dtype = np.complex128
    mesh = device_mesh(axis_type=axis_type)
    a = hermitian(n, dtype)
    storage = np.full((32, 32), np.nan, dtype)
    storage[:n, :n] = a
    for tile in (None, 3) if n == 29 else (3,):
        w, v = jaxmg.syevd(by_rows(storage, mesh), tile, n=n)
        check(a, w, np.asarray(v)[:n, :n])
        assert not np.any(np.asarray(v)[n:]) and not np.any(np.asarray(v)[:, n:])


def test_larger_than_a_tile(mesh):
    """By the library's own sizes, in two stages."""
    a = hermitian(300, np.complex64)
    found = jaxmg.eigh(a, mesh=mesh)
    assert isinstance(found, jaxmg.EighResult)
    check(a, *found)


@pytest.mark.parametrize("spec", [P("x", None), P(None, "x"), P("y", "x"), P(("x", "y"), None)])
def test_meshes_and_specs(spec, axis_type):
    n = 24
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=axis_type)
    a = hermitian(n, np.complex128)
    given = jax.device_put(a, NamedSharding(mesh, spec))
    call = functools.partial(jaxmg.syevd, T_A=4, mesh=mesh, matrix_specs=spec)
    for result in (call(given), jax.jit(call)(given)):
        check(a, *result)
    axes = tuple(axis for entry in spec if entry for axis in np.atleast_1d(entry).tolist())
    assert is_by_columns(result[1], mesh, axes)


def test_results(dtype, mesh):
    n = 3 * DEVICES
    a = hermitian(n, dtype)
    call = [by_rows(a, mesh), 3, mesh, P("x", None)]
    w, v, status = jaxmg.syevd(*call, True, True, False)
    check(a, w, v)
    assert (status.shape, status.dtype, int(status)) == ((), np.int32, 0)
    w, status, info = jaxmg.syevd(*call, False, True, return_info=True)
    check(a, w)
    assert (info.shape, info.dtype, int(info)) == ((), np.int32, 0)
    result = jaxmg.eigh(*call)
    assert np.array_equal(result.eigenvalues, w) or np.allclose(result.eigenvalues, w)
    check(a, result.eigenvalues, result.eigenvectors)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(dtype, bad, tile, mesh):
    n = 4 * DEVICES
    a = hermitian(n, dtype)
    a[2, n - 3] = a[n - 3, 2] = bad
    w, v, status, info = jaxmg.syevd(by_rows(a, mesh), tile, return_status=True, return_info=True)
    assert int(info) != 0 and int(status) == 7
    assert np.all(np.isnan(w)) and np.all(np.isnan(v))
    w, info = jaxmg.syevd(by_rows(a, mesh), tile, None, None, False, return_info=True)
    assert int(info) != 0 and np.all(np.isnan(w))


@pytest.mark.parametrize("tile", [None, 4])
def test_donation(tile, mesh):
    a = hermitian(8 * DEVICES, np.complex128)
    for donate in (False, True):
        given = by_rows(a, mesh)
        check(a, *jaxmg.syevd(given, tile, mesh, donate=donate))
        assert given.is_deleted() == donate
        if not donate:
            assert np.array_equal(given, a)
    given = by_rows(a, mesh)
    check(a, jaxmg.syevd(given, tile, mesh, None, False, donate=True))
    assert given.is_deleted()


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.complex128)], ids=str)
def test_memory(dtype, mesh):
    """What is stated: V and 2.5 shards, or 1.5 where A is donated; 1 and 0 without vectors."""
    # Where the library works in two stages, and what it takes beside shards.
    n, columns = (4096, 6 * 256) if PLATFORM == "cpu" else (16384, 5 * 1024 + 512)
    shard = n * n // DEVICES * dtype.itemsize
    columns *= n * dtype.itemsize
    a = jax.ShapeDtypeStruct((n, n), dtype, sharding=NamedSharding(mesh, P("x", None)))

    def memory(donate, vectors):
        form = jaxmg.syevd_jit_ctx if donate else jaxmg.syevd
        f = functools.partial(form, mesh=mesh, return_eigenvectors=vectors, engine="jaxmg")
        compiled = jax.jit(f, donate_argnums=(0,) if donate else ()).lower(a).compile()
        return compiled.memory_analysis()

    for donate in (False, True):
        for vectors in (False, True):
            used = memory(donate, vectors)
            stated = (0 if donate else 1) + (1.5 if vectors else 0)
            assert used.temp_size_in_bytes <= stated * shard + columns
            assert used.alias_size_in_bytes == (shard if donate else 0)


def test_shardmap_ctx_on_local_blocks(dtype, mesh):
    n = 3 * DEVICES
    a = hermitian(n, dtype)
    shard_map = functools.partial(jax.shard_map, mesh=mesh, in_specs=P("x", None), check_vma=False)
    decompose = shard_map(
        lambda a: jaxmg.syevd_shardmap_ctx(a, 3), out_specs=(P(), P(None, "x"), P())
    )
    w, v, status = jax.jit(decompose)(by_rows(upper_only(a), mesh))
    check(a, w, v)
    assert (status.shape, status.dtype, int(status[0])) == ((1,), np.int32, 0)
    w, status = shard_map(
        lambda a: jaxmg.syevd_shardmap_ctx(a, 3, False, True), out_specs=(P(), P())
    )(by_rows(a, mesh))
    check(a, w)


def test_teams_beside_each_other():
    """Two axes are manual; devices along one of them are teams of their own."""
    mesh = device_mesh((2, 4), ("team", "x"))
    pair = np.stack([hermitian(12, np.float64, seed) for seed in (1, 2)])
    decompose = jax.shard_map(
        lambda a: [x[None] for x in jaxmg.syevd_shardmap_ctx(a[0], 2, axis_name="x")[:2]],
        mesh=mesh,
        in_specs=P("team", "x", None),
        out_specs=[P("team"), P("team", None, "x")],
        check_vma=False,
    )
    w, v = decompose(pair)
    for i in range(2):
        check(pair[i], w[i], v[i])


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_ctx_forms_on_global_arrays(jit, axis_type):
    """As 1.4.1 has them, and NetKet calls them: the mesh from the context, or given."""
    mesh = device_mesh(axis_type=axis_type)
    a = hermitian(3 * DEVICES, np.complex64)
    use = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
    for form in (jaxmg.syevd_shardmap_ctx, jaxmg.syevd_jit_ctx):
        call = functools.partial(form, T_A=3)
        with use(mesh):
            work, w, v, status = (jax.jit(call) if jit else call)(by_rows(a, mesh))
        check(a, w, v)
        assert work.shape == a.shape and status.shape == () and int(status) == 0
        work, w, status = form(by_rows(a, mesh), 3, return_eigenvectors=False)
        check(a, w)
    check(a, *jaxmg.syevd_shardmap_ctx(by_rows(a, mesh), 3, mesh, P("x", None))[1:3])
    check(a, *jaxmg.syevd_shardmap_ctx(by_rows(a, mesh), 3, None, P("x", None))[1:3])


def test_in_a_loop(mesh):
    n = 2 * DEVICES
    a = hermitian(n, np.float64)

    @jax.jit
    def shifts(a):
        def step(a, shift):
            w, v = jaxmg.eigh(a + shift * jnp.eye(n), 2, mesh)
            return (v * (w - shift)) @ v.T, w

        return jax.lax.scan(step, a, jnp.arange(3.0))

    last, w = shifts(by_rows(a, mesh))
    assert np.allclose(last, a, atol=1e-12)
    for i in range(3):
        check(a + i * np.eye(n), w[i])


def test_vmap(mesh):
    n = 2 * DEVICES
    pair = np.stack([hermitian(n, np.complex64, seed) for seed in (1, 2)])
    w, v = jax.vmap(functools.partial(jaxmg.eigh, T_A=3, mesh=mesh))(pair)
    for i in range(2):
        check(pair[i], w[i], v[i])


def test_no_gather_of_the_matrix(axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = by_rows(hermitian(2 * DEVICES, np.float64), mesh)
    text = jax.jit(lambda a: jaxmg.syevd(a, 2, mesh, P("x", None))).lower(a).compile().as_text()
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in text


def test_a_rank_that_fails(mesh):
    a = hermitian(4 * DEVICES, np.float64)
    message = inject_fault(DEVICES - 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(jaxmg.eigh(by_rows(a, mesh), 4))
    check(a, *jaxmg.eigh(by_rows(a, mesh), 4))


def test_stages_are_noted_while_asked_for(mesh, engine):
    a = by_rows(hermitian(4 * DEVICES, np.float64), mesh)
    with _library.noted_stages(PLATFORM) as seconds:
        jax.block_until_ready(jaxmg.syevd(a, 4))
    stages = {
        "jaxmg": [
            "distribution",
            "reduction to band form",
            "bulge chasing",
            "divide and conquer",
            "bulge back-transform",
            "band back-transform",
        ],
        "cusolvermg": ["distribution", "solution by the library", "collection"],
    }
    assert list(seconds) == stages[engine] and all(time >= 0 for time in seconds.values())
    with _library.noted_stages(PLATFORM) as seconds:
        jax.block_until_ready(jaxmg.potrs(a + 8 * jnp.eye(len(a)), a[0], 4, mesh))
    assert seconds == {}, "it has none, and the last call's are forgotten"


def test_messages(mesh):
    a = by_rows(hermitian(2 * DEVICES, np.float64), mesh)
    with pytest.raises(ValueError, match="syevd: a: expected A to be square"):
        jaxmg.syevd(jnp.ones((2, 3)), mesh=mesh)
    with pytest.raises(ValueError, match="eigh: T_A must be positive"):
        jaxmg.eigh(a, 0)
    with pytest.raises(TypeError, match="syevd: a: supports float32"):
        jaxmg.syevd(jnp.ones((2, 2), np.int32), mesh=mesh)
    with pytest.raises(ValueError, match="in_specs must be a single PartitionSpec"):
        jaxmg.syevd(a, 4, mesh, (P("x", None), P()))
    with pytest.raises(ValueError, match="n: expected the true order"):
        jaxmg.eigh(a, n=1000)
    with pytest.raises(ValueError, match="syevd_shardmap_ctx: axis_name: expected a call inside"):
        jaxmg.syevd_shardmap_ctx(a, axis_name="x")
    for form in (jaxmg.eigh, jaxmg.syevd_jit_ctx):
        message = f"{form.__name__}: expected global arrays, got local blocks"
        inside = jax.shard_map(
            form, mesh=mesh, in_specs=P("x", None), out_specs=P(), check_vma=False
        )
        with pytest.raises(ValueError, match=message):
            jax.jit(inside)(a)
