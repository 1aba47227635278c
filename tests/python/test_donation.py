"""Donation, what the compiled program does to A, and what crosses process borders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, cpu_mesh, everywhere, random_matrix, residual, spd

import jaxmg

N, T = 256, 16
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)
SHARD = N * N // 8 * 8  # bytes


def compiled_text(f, *args):
    return jax.jit(f).lower(*args).compile().as_text()


def test_donated_matrix_is_gone_and_others_stay(mesh, dtype):
    a, b = spd(N, dtype), random_matrix(N, 2, dtype, 1)
    kept, given = by_rows(a, mesh), by_rows(a, mesh)
    x = jaxmg.potrs(kept, b, T, mesh)
    y = jaxmg.potrs(given, b, T, mesh, donate=True)
    assert given.is_deleted() and not kept.is_deleted()
    assert residual(a, x, b) < 10 and residual(a, y, b) < 10


def test_no_gather_of_the_matrix(mesh, axis_type):
    mesh = cpu_mesh(axis_type=axis_type)
    text = compiled_text(
        lambda a, b: jaxmg.potrs(a, b, T, mesh, P("x", None)), by_rows(A, mesh), everywhere(B, mesh)
    )
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in text


def test_donation_aliases(mesh):
    """The donating form's working matrix is A's storage, and there is no second one."""
    a = jax.ShapeDtypeStruct((N, N), np.float64, sharding=NamedSharding(mesh, P("x", None)))
    b = jax.ShapeDtypeStruct((N, 2), np.float64, sharding=NamedSharding(mesh, P()))

    def memory(f, donate):
        return jax.jit(f, donate_argnums=donate).lower(a, b).compile().memory_analysis()

    given = memory(lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, 2), (0,))
    assert given.alias_size_in_bytes >= SHARD
    assert given.temp_size_in_bytes < SHARD
    kept = memory(lambda a, b: jaxmg.potrs(a, b, 2), ())
    assert SHARD <= kept.temp_size_in_bytes < 2 * SHARD


def test_a_temporary_is_factored_in_place(mesh):
    """A computed under the caller's jit needs one matrix, not two."""
    a = jax.ShapeDtypeStruct((N, N), np.float64, sharding=NamedSharding(mesh, P("x", None)))

    def temporaries(donate):
        def f(a, b):
            return jaxmg.potrs(jnp.cos(a) + N * jnp.eye(N), b, 2, donate=donate)

        compiled = jax.jit(f).lower(a, jnp.asarray(B)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(True) <= temporaries(False) - SHARD // 2


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
