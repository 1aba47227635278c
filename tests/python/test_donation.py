"""Donation, what the compiled program does to A, and what crosses process borders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, device_mesh
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg
from jaxmg._library import Sizes, potrs_workspace

N, T = 256, 16
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)
LARGE = 1024  # only compiled for
SHARD = LARGE * LARGE // DEVICES * 8  # bytes


def large_operands(mesh):
    return tuple(
        jax.ShapeDtypeStruct((LARGE, columns), np.float64, sharding=NamedSharding(mesh, spec))
        for columns, spec in ((LARGE, P("x", None)), (2, P()))
    )


def compiled_text(f, *args):
    return jax.jit(f).lower(*args).compile().as_text()


def test_donated_matrix_is_gone_and_others_stay(mesh, dtype):
    a, b = spd(N, dtype), random_matrix(N, 2, dtype, 1)
    kept, given = by_rows(a, mesh), by_rows(a, mesh)
    x = jaxmg.potrs(kept, b, T, mesh)
    y = jaxmg.potrs(given, b, T, mesh, donate=True)
    assert given.is_deleted() and not kept.is_deleted()
    assert residual(a, x, b) < 10 and residual(a, y, b) < 10


@pytest.mark.filterwarnings("error:Some donated buffers")
def test_what_is_padded_stays(axis_type):
    """It has another shape than what it is factored in, and JAX would say that it was not used."""
    n, mesh = N - 3, device_mesh(axis_type=axis_type)
    if n % DEVICES == 0:
        pytest.skip("nothing is padded")
    a, b = spd(n, np.float64), B[:n]
    for call in (
        jaxmg.potrs,
        lambda a, b, *rest, **how: jaxmg.cho_factor(a, *rest, **how).solve(b),
    ):
        given = everywhere(a, mesh)
        assert residual(a, call(given, b, T, mesh, donate=True), b) < 10
        assert not given.is_deleted()


@pytest.mark.filterwarnings("error:Some donated buffers")
def test_what_is_not_sharded_by_rows_stays():
    """Its storage is not what the ranks work in."""
    if DEVICES == 1:
        pytest.skip("it is")
    mesh = device_mesh(axis_type=AxisType.Auto)
    columns = jax.device_put(A, NamedSharding(mesh, P(None, "x")))
    for given in (everywhere(A, mesh), columns):
        for call in (jaxmg.potri, jaxmg.eigh, lambda a, **how: jaxmg.potrs(a, B, **how)):
            call(given, T_A=T, donate=True)
            assert not given.is_deleted()


def test_no_gather_of_the_matrix(mesh, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    text = compiled_text(
        lambda a, b: jaxmg.potrs(a, b, T, mesh, P("x", None)), by_rows(A, mesh), everywhere(B, mesh)
    )
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in text


def test_donation_aliases(mesh):
    """The donating form's working matrix is A's storage, and there is no second one."""
    a, b = large_operands(mesh)

    def memory(f, donate):
        return jax.jit(f, donate_argnums=donate).lower(a, b).compile().memory_analysis()

    given = memory(lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, 2), (0,))
    assert given.alias_size_in_bytes >= SHARD
    assert given.temp_size_in_bytes < SHARD
    kept = memory(lambda a, b: jaxmg.potrs(a, b, 2), ())
    assert SHARD <= kept.temp_size_in_bytes < 2 * SHARD


def test_a_temporary_is_factored_in_place(mesh):
    """A computed under the caller's jit needs one matrix, not two."""
    a, b = large_operands(mesh)

    def temporaries(donate):
        def f(a, b):
            return jaxmg.potrs(jnp.cos(a) + LARGE * jnp.eye(LARGE), b, 2, donate=donate)

        compiled = jax.jit(f).lower(a, b).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(True) <= temporaries(False) - SHARD // 2


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("tile", [8, 64])
@pytest.mark.parametrize("columns", [1, 40])
def test_memory_beyond_the_operands_is_the_workspace(mesh, dtype, columns, tile, donate):
    a, b = (
        jax.ShapeDtypeStruct((LARGE, n), dtype, sharding=NamedSharding(mesh, spec))
        for n, spec in ((LARGE, P("x", None)), (columns, P()))
    )
    form = jaxmg.potrs_jit_ctx if donate else jaxmg.potrs
    solve = jax.jit(lambda a, b: form(a, b, tile), donate_argnums=(0,) if donate else ())
    memory = solve.lower(a, b).compile().memory_analysis()
    workspace = potrs_workspace(
        Sizes(PLATFORM, dtype, LARGE, LARGE, DEVICES, tile), columns, donate
    )
    assert workspace <= memory.temp_size_in_bytes <= workspace + 16384
    shard = LARGE * LARGE // DEVICES * dtype.itemsize
    assert memory.alias_size_in_bytes == (shard if donate else 0)


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("tile", [0, 256, 1024])
@pytest.mark.parametrize("rhs", [0, 1, 100])
def test_workspace_of_a_donated_matrix(dtype, rhs, tile, ranks, platform):
    """Up to four tile columns and the right-hand sides: little beside the matrix itself."""
    for n in (12288, 49152, 131072 // ranks * ranks):
        size = potrs_workspace(Sizes(platform, dtype, n, n, ranks, tile), rhs, True)
        widest = tile or (2048 if dtype == np.float32 else 1024)
        assert size <= (4 * widest * n + 2 * rhs * (n + widest)) * dtype.itemsize + 65536


def test_ctx_form_donates_under_the_callers_jit(mesh):
    a = by_rows(A, mesh)
    work, x, status = jax.jit(
        lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, T_A=T), donate_argnums=(0,)
    )(a, everywhere(B, mesh))
    assert a.is_deleted() and int(status) == 0
    assert residual(A, x, B) < 10
    assert not np.array_equal(work, A)


@pytest.mark.parametrize("n", [N, N - 3])
def test_repeated_donation(mesh, n):
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, T, n=n, donate=True))
    for _ in range(20):
        x = solve(by_rows(A, mesh), everywhere(B, mesh))
        assert residual(A[:n, :n], x[:n], B[:n]) < 10
