"""The calls of jaxmg 0.0.x and 1.4.1 keep working, eagerly and under jit."""

import functools

import jax
import numpy as np
import pytest
from devices import device_mesh
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg

N, T = 64, 8
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)


def check(x, b=B):
    assert x.shape == b.shape
    assert residual(A, x, b) < 10


def shard_map(f, mesh, in_specs, out_specs):
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


@pytest.mark.parametrize(
    "specs",
    [
        P("x", None),
        (P("x", None),),
        [P("x", None)],
        (P("x", None), P(None, None)),
        P(None, "x"),
        P("x"),
    ],
    ids=str,
)
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_positional_calls(specs, jit, axis_type):
    mesh = device_mesh(axis_type=axis_type)

    def call(a, b):
        return jaxmg.potrs(a, b, T, mesh, specs, True, True, True)

    x, logdet, status = (jax.jit(call) if jit else call)(by_rows(A, mesh), everywhere(B, mesh))
    check(x)
    assert int(status) == 0
    assert np.isclose(float(logdet), np.linalg.slogdet(A)[1])


def test_the_papers_call():
    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    out = jax.jit(
        lambda a, b: jaxmg.potrs(a, b, T_A=T, mesh=mesh, in_specs=(P("x", None), P(None, None)))
    )(by_rows(A, mesh), everywhere(B, mesh))
    check(out)


def test_netket_call_with_the_abstract_context_mesh():
    """NetKet passes get_abstract_mesh(), b as a column, axis "S"."""
    mesh = device_mesh(names=("S",))
    b = B[:, :1]

    @jax.jit
    def solve(a, b):
        inside = jax.shard_map  # the mesh comes from the operands' own type
        assert inside
        return jaxmg.potrs(a, b, T_A=T, mesh=jax.typeof(a).sharding.mesh, in_specs=(P("S", None),))

    check(solve(by_rows(A, mesh, "S"), everywhere(b, mesh)), b)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_context_mesh(jit, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    use = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
    call = functools.partial(jaxmg.potrs, T_A=T)
    with use(mesh):
        check((jax.jit(call) if jit else call)(by_rows(A, mesh), everywhere(B, mesh)))
    with use(mesh):
        mesh_inside = jax.sharding.get_abstract_mesh()
        call = functools.partial(jaxmg.potrs, T_A=T, mesh=mesh_inside, in_specs=P("x", None))
        check((jax.jit(call) if jit else call)(by_rows(A, mesh), everywhere(B, mesh)))


def test_legacy_mesh_context():
    mesh = device_mesh()
    with mesh:
        check(jaxmg.potrs(A, B, T))


def test_foreign_context_mesh():
    """The mesh of the operands wins over the context's."""
    mesh, other = device_mesh((4,)), device_mesh((2, 4), ("p", "q"))
    use = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
    a, b = by_rows(A, mesh), everywhere(B, mesh)
    with use(other):
        check(jaxmg.potrs(a, b, T))
        check(jaxmg.potrs(a, b, T, mesh, P("x", None)))


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_mesh_and_spec_from_the_operand(jit, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    call = jax.jit(jaxmg.potrs) if jit else jaxmg.potrs
    check(call(by_rows(A, mesh), everywhere(B, mesh)))


@pytest.mark.parametrize(
    "spec", [P("x", None), P(None, "x"), P("y", "x"), P(("x", "y"), None)], ids=str
)
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_matrix_specs_of_1x(spec, jit, axis_type):
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=axis_type)
    a = jax.device_put(A, NamedSharding(mesh, spec))

    def call(a, b):
        return jaxmg.potrs(a, b, T, mesh, matrix_specs=spec, return_status=True, donate=False)

    x, status = (jax.jit(call) if jit else call)(a, everywhere(B, mesh))
    check(x)
    assert int(status) == 0


@pytest.mark.parametrize("name", ["potrs_shardmap_ctx", "potrs_jit_ctx"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("vector", [False, True])
def test_global_ctx_of_1x(name, jit, vector, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    b = B[:, 0] if vector else B
    call = functools.partial(getattr(jaxmg, name), T_A=T)
    sharded = by_rows(A, mesh)
    work, x, status = (jax.jit(call) if jit else call)(sharded, everywhere(b, mesh))
    check(x, b)
    assert work.shape == A.shape and work.sharding.is_equivalent_to(sharded.sharding, 2)
    assert int(status) == 0 and status.shape == ()
    work, x, logdet, status = jax.jit(functools.partial(call, return_logdet=True))(
        sharded, everywhere(b, mesh)
    )
    assert np.isclose(float(logdet), np.linalg.slogdet(A)[1])
    assert np.array_equal(sharded, A)


def test_positional_ctx_of_1x(axis_type):
    """(a, b, T_A, mesh, matrix_specs) in 1.x, (a, b, T_A, return_logdet, pad) in 0.0.x."""
    mesh = device_mesh(axis_type=axis_type)
    a, b = by_rows(A, mesh), everywhere(B, mesh)
    for call in (jaxmg.potrs_shardmap_ctx, jaxmg.potrs_jit_ctx):
        _, x, status = call(a, b, T, mesh, P("x", None))
        check(x)
        assert int(status) == 0


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_local_ctx_of_0x(jit, axis_type):
    mesh = device_mesh(axis_type=axis_type)

    def local(a, b):
        x, status = jaxmg.potrs_shardmap_ctx(a, b, T)
        y, logdet, _ = jaxmg.potrs_shardmap_ctx(a, b, T, True, False)
        return x, y, logdet, status

    call = shard_map(local, mesh, (P("x", None), P(None, None)), (P(), P(), P(), P()))
    x, y, logdet, status = (jax.jit(call) if jit else call)(by_rows(A, mesh), everywhere(B, mesh))
    check(x)
    check(y)
    assert status.shape == logdet.shape == (1,) and int(status[0]) == 0
    assert np.isclose(float(logdet[0]), np.linalg.slogdet(A)[1])


def test_local_ctx_on_one_of_two_axes():
    """Each row of the mesh is a team of its own and solves a system of its own."""
    mesh = device_mesh((2, 4), ("batch", "x"))
    a = np.stack([A, 2 * A])

    def local(a, b):
        return jaxmg.potrs_shardmap_ctx(a[0], b, T, axis_name="x")[0][None]

    call = shard_map(local, mesh, (P("batch", "x", None), P(None, None)), P("batch", None, None))
    x = jax.jit(call)(jax.device_put(a, NamedSharding(mesh, P("batch", "x", None))), B)
    check(x[0])
    check(2 * x[1])


def test_local_ctx_wants_all_axes_manual():
    mesh = device_mesh((4, 2), ("x", "y"), axis_type=AxisType.Auto)
    call = jax.shard_map(
        lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, T)[0],
        mesh=mesh,
        in_specs=(P("x", None), P(None, None)),
        out_specs=P(None, None),
        axis_names={"x"},
        check_vma=False,
    )
    with pytest.raises(ValueError, match=r"all axes of the mesh.*leaves \('y',\)"):
        jax.jit(call)(by_rows(A, mesh), everywhere(B, mesh))


def test_version_is_above_the_published_ones():
    assert tuple(int(part) for part in jaxmg.__version__.split(".")[:2]) >= (2, 0)
