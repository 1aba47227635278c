"""Eigenvalues and eigenvectors of Hermitian matrices that are spread over devices."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import zero_from_primal
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._derivatives import in_sequence, without_derivatives
from ._entry import (
    Scalars,
    compiled,
    find_engine,
    global_matrix,
    local_block,
    no_work,
    refuse_axis_name,
    refuse_local_blocks,
    status_of,
    told_apart,
)
from ._layout import AnyMesh, Layout, Team, call_handler, call_in_seat, pad_storage, unpadded
from ._products import (
    columns_to_rows,
    diagonal_of_product,
    hermitian_part,
    leading_block,
    multiply,
    over_gaps,
)


class Options(NamedTuple):
    """What a compiled call depends on besides shapes and dtypes."""

    order: int
    tile: int | None
    in_place: bool
    with_vectors: bool
    with_work: bool = False
    engine: str = "jaxmg"


class Outcome(NamedTuple):
    """Results of a call; `v` is empty for eigenvalues alone, `work` is A's storage or empty."""

    w: jax.Array
    v: jax.Array
    info: jax.Array
    work: jax.Array


class Decomposition(NamedTuple):
    """What a global form makes of an `Outcome`."""

    w: jax.Array
    v: jax.Array
    scalars: Scalars
    work: jax.Array


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: jax.Array
    eigenvectors: jax.Array


def _syevd_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    a: jax.Array,
    *,
    team: Team,
    options: Options,
) -> Outcome:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(a.dtype)
    rows, columns = a.shape
    tile = options.tile or 0  # chosen by the library
    sizes = _library.Sizes(platform, dtype, columns, options.order, team.ranks, tile)
    workspace = _library.syevd_workspace(
        sizes, options.with_vectors, options.in_place, options.engine
    )
    w, v, info, _, work = call_handler(
        "jaxmg_syevd",
        team,
        (rank, group, a),
        (
            ((options.order,), np.finfo(dtype).dtype),
            ((columns, rows) if options.with_vectors else (0, 0), dtype),
            ((1,), np.int32),
            ((workspace,), np.uint8),
            (a.shape if options.in_place else (0, 0), dtype),
        ),
        {2: 4} if options.in_place else None,
        order=options.order,
        tile=tile,
        vectors=options.with_vectors,
        in_place=options.in_place,
        engine=_library.ENGINES[options.engine],
    )
    return Outcome(w, v, info, work)


def _syevd_local(
    a: jax.Array, axes: tuple[str, ...], group_axes: tuple[str, ...], options: Options
) -> Outcome:
    """The call of one device, inside a ``shard_map``, on its rows."""
    call = functools.partial(_syevd_on, options=options)
    out: Outcome = in_sequence(lambda a: call_in_seat(call, axes, group_axes, a))(a)
    return out


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _syevd_stored(a: jax.Array, layout: Layout, options: Options) -> Outcome:
    """The call on a global array whose rows the ranks divide."""
    by_rows: Any = layout.rows
    everywhere: Any = P()
    v_spec: Any = layout.columns if options.with_vectors else everywhere
    work_spec: Any = by_rows if options.in_place else everywhere
    decompose = _compat.shard_map(
        lambda rows: _syevd_local(rows, layout.axes, layout.group_axes, options),
        layout.mesh,
        (by_rows,),
        Outcome(everywhere, v_spec, everywhere, work_spec),
    )
    out: Outcome = decompose(_compat.reshard(a, layout.mesh, layout.rows))
    v = out.v if options.with_vectors else no_work(a)
    return out._replace(v=v, work=out.work if options.with_work else no_work(a))


@_syevd_stored.defjvp
def _syevd_jvp(
    layout: Layout, options: Options, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[Outcome, Outcome]:
    """One decomposition, with vectors, for what is computed and all its derivatives."""
    out: Outcome = _syevd_stored(*primals, layout, options._replace(with_vectors=True))
    w, v = out.w, out.v
    u = v.conj().T  # its rows are where V's columns are

    def rotation(us: jax.Array) -> jax.Array:
        """(V (F * M))^H: M is Hermitian, and F changes its sign."""
        m = multiply(us, columns_to_rows(v, layout), layout)
        return multiply(over_gaps(m, w, layout), u, layout)

    s = hermitian_part(leading_block(*tangents, options.order, layout), layout)
    us = _compat.linear(lambda s: multiply(u, s, layout), s)
    dw = diagonal_of_product(us, u, layout)[: w.size]
    fixed = zero_from_primal(out.info), zero_from_primal(out.work)
    if not options.with_vectors:
        return out._replace(v=no_work(v)), Outcome(dw, no_work(v), *fixed)
    return out, Outcome(dw, _compat.linear(rotation, us).conj().T, *fixed)


def _syevd(a: jax.Array, layout: Layout, options: Options) -> Decomposition:
    if options.order == 0:  # XLA refuses a shard_map over nothing
        out = _nothing_to_decompose(a)
    else:
        out = _syevd_stored(pad_storage(a, layout), layout, options)
    v, work = out.v, out.work
    if options.with_vectors:
        v = unpadded(v, a.shape[0], layout)
    if options.with_work:
        work = unpadded(work, a.shape[0], layout)
    return Decomposition(out.w, v, Scalars.of(None, out.info), work)


def _nothing_to_decompose(a: jax.Array) -> Outcome:
    w = jnp.zeros(0, np.finfo(a.dtype).dtype)
    return Outcome(w, jnp.zeros_like(a), jnp.zeros(1, np.int32), a)


def _call(
    routine: str,
    a: Any,
    T_A: Any,
    mesh: Any,
    in_specs: Any,
    matrix_specs: Any,
    n: Any,
    engine: str | None,
    *,
    in_place: bool,
    with_vectors: bool = True,
    with_work: bool = False,
) -> Decomposition:
    """Checks the arguments of a global form, finds its layout and runs it."""
    refuse_local_blocks(routine, "call syevd_shardmap_ctx(a, T_A) there")
    matrix = global_matrix(routine, a, T_A, mesh, in_specs, matrix_specs, n)
    a, layout = matrix.a, matrix.layout
    traced = _compat.is_traced(a)
    # XLA aliases a donated A only with a result of A's shape.
    donate = matrix.is_given_away(in_place and not with_work)
    # Padded storage is ours: it need not be copied once more.
    options = Options(
        matrix.order,
        matrix.tile,
        in_place or not matrix.is_divided,
        with_vectors,
        with_work or donate,
        find_engine(routine, engine, layout.mesh),
    )
    with _compat.foreign_context_left(layout.mesh, traced):
        out: Decomposition = compiled(_syevd, donate, layout=layout, options=options)(a)
    return out


def syevd(
    a: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    return_eigenvectors: bool = True,
    return_status: bool = False,
    pad: bool = True,
    *,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    donate: bool = False,
    n: int | None = None,
    return_info: bool = False,
    engine: str | None = None,
) -> Any:
    r"""Eigenvalues and eigenvectors, :math:`A V = V \mathrm{diag}(w)`, of a Hermitian A that is
    spread over devices.

    A reduction to tridiagonal form in two stages, divide and conquer, two back-transforms: up to
    ``28 / 3 * n**3`` flops, ``2 * n**3`` for eigenvalues alone, times 4 for complex dtypes (LAPACK
    heevd). :math:`\|A V - V \mathrm{diag}(w)\|_1` and the errors of w are small multiples of
    ``n * eps * norm(A)``, whatever A and its scale. Beside A and V a device needs 2.5 times its
    share of A, with ``donate`` 1.5, and some hundred columns; for eigenvalues alone 1, or 0.

    Works eagerly, under ``jit`` and inside loops. ``vmap`` is one call after the other.

    Has derivatives of any order, those of ``jnp.linalg.eigh``: with :math:`S = (dA + dA^H) / 2` and
    :math:`M = V^H S V`,

    .. math:: dw_i = M_{ii}, \qquad dV = V (F \circ M), \qquad F_{ij} = 1 / (w_j - w_i),

    F with a diagonal of zeros, so that gradients with respect to A are Hermitian, and spread as A
    is. A value and its derivatives take one decomposition, with V; the derivative of w takes
    ``2 * n**3`` flops more, that of w and V ``6 * n**3``, times 4 for complex dtypes; ``status``
    and ``info`` have none. Where eigenvalues are equal that of V is not finite, that of w is right.
    V is determined but for the phases of its columns: differentiate what does not depend on them.

    Args:
      a: ``(N, N)`` float32, float64, complex64 or complex128, of which the upper triangle is read.
        As in `potrs`.
      T_A: tile size; chosen by the library if left out.
      mesh, in_specs, matrix_specs: as in `potrs`.
      return_eigenvectors: also return V. Without it no device has storage for V.
      return_status: also return the status.
      pad: taken for compatibility; nothing is padded.
      donate: work in the storage of `a`, which is then deleted, if it is sharded by rows.
      n: true order of A in padded storage; then there are n eigenvalues, and V is zero in rows and
        columns from n on.
      return_info: also return info.
      engine: as in `potrs`. ``"cusolvermg"`` takes `T_A` up to 1024, and 512 or less if it is left
        out; it gives the same V, and needs, beside A and V, another share of A, with `donate` none
        where `T_A` divides a device's rows, and what the library asks for.

    Returns:
      ``w[, V][, status][, info]``: ``w``, ascending, of A's real dtype, replicated; ``V`` of A's
      shape and dtype, its columns the eigenvectors, ``A @ V == V * w``, sharded by columns,
      ``P(None, "x")``; replicated where the devices do not divide N. ``status`` is an int32 scalar,
      0 or 7; ``info`` an int32 scalar, not 0 where A is not finite or an iteration does not
      converge. Then every entry of ``w`` and ``V`` is NaN.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      RuntimeError: there is no library for the devices, or for `engine`.
      jax.errors.JaxRuntimeError: as in `potrs`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jnp.diag(jnp.arange(16.0, 0.0, -1.0))
      >>> a = jax.device_put(a, NamedSharding(mesh, P("x", None)))
      >>> w, v = jaxmg.syevd(a, mesh=mesh, in_specs=P("x", None))
      >>> A, V = jax.device_get((a, v))
      >>> print(w[:4], bool(jnp.allclose(A @ V, V * w)))
      [1. 2. 3. 4.] True
      >>> largest = lambda a: jaxmg.syevd(a, mesh=mesh, return_eigenvectors=False)[-1]
      >>> print(jax.device_get(jax.jit(jax.grad(largest))(a))[0, :2])
      [1. 0.]
    """
    del pad
    out = _call(
        "syevd",
        a,
        T_A,
        mesh,
        in_specs,
        matrix_specs,
        n,
        engine,
        in_place=donate,
        with_vectors=return_eigenvectors,
    )
    v = (out.v,) if return_eigenvectors else ()
    return out.scalars.after(out.w, *v, logdet=False, status=return_status, info=return_info)


def eigh(
    a: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    *,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    donate: bool = False,
    n: int | None = None,
    engine: str | None = None,
) -> EighResult:
    """Eigenvalues and eigenvectors, as ``jnp.linalg.eigh`` returns them: `syevd` by another name.

    Has the derivatives of `syevd`.

    Args:
      a, T_A, mesh, in_specs, matrix_specs, donate, n, engine: as in `syevd`.

    Returns:
      ``(eigenvalues, eigenvectors)``, a named tuple: ``w`` and ``V`` of `syevd`.

    Raises:
      TypeError, ValueError, RuntimeError: as in `syevd`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> w, v = jaxmg.eigh(jnp.array([[0.0, 2.0], [2.0, 0.0]]), mesh=mesh)
      >>> print(w)
      [-2.  2.]
    """
    out = _call("eigh", a, T_A, mesh, in_specs, matrix_specs, n, engine, in_place=donate)
    return EighResult(out.w, out.v)


def syevd_jit_ctx(
    a: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    *,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    return_eigenvectors: bool = True,
    pad: bool = True,
    n: int | None = None,
    engine: str | None = None,
) -> tuple[jax.Array, ...]:
    """`syevd` for callers who manage A's storage themselves (the 1.x calling convention).

    Works in the storage of `a` if the caller's ``jit`` donates it, or if it is a temporary there,
    else in a copy.

    Args:
      a, T_A, mesh, in_specs, matrix_specs, return_eigenvectors, pad, n, engine: as in `syevd`.

    Returns:
      ``(work, w[, V], status)``: ``work`` has the shape and the sharding of A and holds what the
      reduction left there; the others are as in `syevd`.

    Raises:
      TypeError, ValueError, RuntimeError: as in `syevd`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> decompose = jax.jit(lambda a: jaxmg.syevd_jit_ctx(a, mesh=mesh), donate_argnums=0)
      >>> work, w, v, status = decompose(a)
      >>> print(w[:3], int(status), a.is_deleted())
      [4. 4. 4.] 0 True
    """
    del pad
    out = _call(
        "syevd_jit_ctx",
        a,
        T_A,
        mesh,
        in_specs,
        matrix_specs,
        n,
        engine,
        in_place=True,
        with_vectors=return_eigenvectors,
        with_work=True,
    )
    v = (out.v,) if return_eigenvectors else ()
    return (out.work, out.w, *v, out.scalars.status)


def syevd_shardmap_ctx(
    a: jax.Array,
    T_A: int | None = None,
    return_eigenvectors: bool | AnyMesh = True,
    pad: bool | P = True,
    *,
    axis_name: str | tuple[str, ...] | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    n: int | None = None,
    engine: str | None = None,
) -> tuple[jax.Array, ...]:
    """`syevd` on the local blocks of a caller's ``shard_map``.

    Every device along the axis must make the call. Outside a ``shard_map`` it takes global arrays
    and is `syevd_jit_ctx`.

    Args:
      a: ``(N / P, N)``, the rows of A that this device holds.
      T_A, n, engine: as in `syevd`.
      return_eigenvectors: also return V.
      pad: taken for compatibility.
      axis_name: as in `potrs_shardmap_ctx`.
      mesh, in_specs, matrix_specs: for global arrays only, as in `syevd`.

    Returns:
      ``(w[, V], status)``: ``w`` the same on every device, ``V`` of shape ``(N, N / P)``, this
      device's columns of eigenvectors, for ``out_specs=P(None, "x")``; ``status`` of shape
      ``(1,)``.

    Raises:
      TypeError, ValueError, RuntimeError: as in `syevd`.
      NotImplementedError: it is differentiated inside the ``shard_map``; `syevd` can be.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> decompose = jax.shard_map(jaxmg.syevd_shardmap_ctx, mesh=mesh, in_specs=P("x", None),
      ...                           out_specs=(P(), P(None, "x"), P()), check_vma=False)
      >>> w, v, status = decompose(a)
      >>> print(w[:3], v.shape)
      [4. 4. 4.] (16, 16)
    """
    given = told_apart(return_eigenvectors, pad, True, mesh, matrix_specs)
    routine = "syevd_shardmap_ctx"
    if not _compat.manual_axes():
        refuse_axis_name(routine, axis_name)
        return syevd_jit_ctx(
            a,
            T_A,
            given.mesh,
            given.matrix_specs,
            in_specs=in_specs,
            return_eigenvectors=given.flag,
            n=n,
            engine=engine,
        )
    block = local_block(routine, a, T_A, axis_name, n)
    options = Options(
        block.order,
        block.tile,
        in_place=False,
        with_vectors=given.flag,
        engine=find_engine(routine, engine, mesh=None),
    )
    call = functools.partial(
        _syevd_local, axes=block.axes, group_axes=block.group_axes, options=options
    )
    out: Outcome = without_derivatives(routine, call, "differentiate syevd, outside the shard_map")(
        block.a
    )
    v = (out.v,) if given.flag else ()
    return (out.w, *v, status_of(out.info))
