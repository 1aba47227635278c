"""Solves with a Hermitian positive definite matrix that is spread over devices."""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import PartitionSpec as P

from . import _cho_calls, _compat, _library
from ._arguments import as_array, check_right_hand_side
from ._derivatives import more_columns, without_derivatives
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
from ._layout import (
    AnyMesh,
    Layout,
    Team,
    call_handler,
    call_in_seat,
    is_by_rows,
    pad_storage,
    place,
)


class Options(NamedTuple):
    """What a compiled call depends on besides shapes and dtypes."""

    order: int
    tile: int | None = None
    in_place: bool = False
    x_by_rows: bool = False
    with_logdet: bool = True
    with_work: bool = False
    engine: str = "jaxmg"


class Outcome(NamedTuple):
    """Results of a call; `work` is A's storage if it is asked for, else empty."""

    x: jax.Array
    logdet: jax.Array
    info: jax.Array
    work: jax.Array


def _potrs_local(
    a: jax.Array, b: jax.Array, axes: tuple[str, ...], group_axes: tuple[str, ...], options: Options
) -> Outcome:
    """The call of one device, inside a ``shard_map``: `a` its rows, `b` all right-hand sides."""
    foreign_call = functools.partial(_potrs_on, options=options)

    def call(a: jax.Array, b: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        out: Outcome = call_in_seat(foreign_call, axes, group_axes, a, _not_empty(a, b))
        return out.x if b.size > 0 else b, out[1:]

    x, rest = more_columns(call)(a, b)
    return Outcome(x, *rest)


def _not_empty(a: jax.Array, b: jax.Array) -> jax.Array:
    """`b`, or one of zeros in its place: XLA's compiler for GPUs crashes on empty operands."""
    return b if b.size > 0 else jnp.zeros(a.shape[1], b.dtype)


def _potrs_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    a: jax.Array,
    b: jax.Array,
    *,
    team: Team,
    options: Options,
) -> Outcome:
    """The foreign call, with the tile and the workspace of one platform."""
    columns = a.shape[1]
    dtype = np.dtype(a.dtype)
    rhs = 1 if b.ndim == 1 else b.shape[1]
    tile = options.tile or 0  # chosen by the library
    sizes = _library.Sizes(platform, dtype, columns, options.order, team.ranks, tile)
    workspace = _library.potrs_workspace(sizes, rhs, options.in_place, options.engine)
    real = np.finfo(dtype).dtype
    work_shape = a.shape if options.in_place else (0, 0)
    x, logdet, info, _, work = call_handler(
        "jaxmg_potrs",
        team,
        (rank, group, a, b),
        (
            (b.shape, dtype),
            ((1,), real),
            ((1,), np.int32),
            ((workspace,), np.uint8),
            (work_shape, dtype),
        ),
        {2: 4} if options.in_place else None,
        order=options.order,
        tile=tile,
        in_place=options.in_place,
        engine=_library.ENGINES[options.engine],
    )
    return Outcome(x, logdet, info, work)


def _potrs_global(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Outcome:
    """The call on global arrays, `a` with a number of rows that the ranks divide."""

    def local(a_rows: jax.Array, b_all: jax.Array) -> Outcome:
        out = _potrs_local(a_rows, b_all, layout.axes, layout.group_axes, options)
        if not options.x_by_rows:
            return out
        rows = out.x.shape[0] // layout.ranks
        mine = lax.axis_index(layout.axes) * rows
        return out._replace(x=lax.dynamic_slice_in_dim(out.x, mine, rows))

    x_spec: Any = P(layout.rows[0]) if options.x_by_rows else P()
    everywhere: Any = P()
    by_rows: Any = layout.rows
    solve = _compat.shard_map(
        local,
        layout.mesh,
        (by_rows, everywhere),
        Outcome(x_spec, everywhere, everywhere, by_rows),
    )
    out = solve(_compat.reshard(a, layout.mesh, layout.rows), _compat.reshard(b, layout.mesh, P()))
    return out if options.with_work else out._replace(work=no_work(a))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _potrs(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Outcome:
    a = pad_storage(a, layout)
    if b.size == 0:
        whole = options._replace(x_by_rows=False)
        return _potrs_global(a, _not_empty(a, b), layout, whole)._replace(x=b)
    return _potrs_global(a, b, layout, options)


def _by_kept_factor(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Outcome:
    """`_potrs` with a factor that its derivatives can use."""
    how = _cho_calls.factor_options(a, layout, options.order, options.tile, options.in_place)
    factored, form = _cho_calls.factor(a, layout, how), how.form(layout)
    x = _cho_calls.solve(factored, b, form, _cho_calls.SolveOptions(False, options.x_by_rows))
    logdet = _cho_calls.logdet(factored, form) if options.with_logdet else factored.log_determinant
    work = lax.stop_gradient(factored.storage) if options.with_work else no_work(a)
    return Outcome(x, logdet.reshape(1), factored.info.reshape(1), work)


@functools.partial(_potrs.defjvp, symbolic_zeros=True)
def _potrs_jvp(
    layout: Layout, options: Options, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Outcome, Outcome]:
    """One factorisation, kept, for what is computed and all its derivatives."""
    moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]

    def f(*moving: jax.Array) -> Outcome:
        given = iter(moving)
        a, b = (next(given) if m else x for m, x in zip(moves, primals, strict=True))
        return _by_kept_factor(a, b, layout, options)

    return jax.jvp(
        f, tuple(itertools.compress(primals, moves)), tuple(itertools.compress(tangents, moves))
    )


class Solution(NamedTuple):
    """What the global forms return of a call."""

    x: jax.Array
    work: jax.Array
    scalars: Scalars


def _solve(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Solution:
    if a.size == 0:  # nothing to solve, and XLA refuses a shard_map over nothing
        real = np.finfo(a.dtype).dtype
        out = Outcome(b, jnp.zeros(1, real), jnp.zeros(1, np.int32), a)
    else:
        out = _potrs(a, b, layout, options)
    return Solution(out.x, out.work, Scalars.of(out.logdet, out.info))


def potrs(
    a: jax.Array,
    b: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    return_status: bool = False,
    return_logdet: bool = False,
    pad: bool = True,
    *,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    donate: bool = False,
    n: int | None = None,
    return_info: bool = False,
    engine: str | None = None,
) -> Any:
    r"""Solves :math:`A x = b` for a Hermitian positive definite A that is spread over devices.

    Factors :math:`A = U^H U` (LAPACK ``potrf``, ``potrs``): ``n**3 / 3 + 2 * n**2 * k`` flops,
    times 4 for complex dtypes. Works eagerly, under ``jit`` and inside ``scan``, ``fori_loop`` and
    ``cond``.

    Has derivatives of any order: with :math:`S = (dA + dA^H) / 2`,

    .. math:: dx = A^{-1} (db - S x), \qquad d \log\det A = \mathrm{Re}\,\mathrm{tr}(A^{-1} dA),

    so that gradients with respect to A are Hermitian, and spread as A is. A value and its gradient
    take one factorisation, one more solve with its factor for each derivative of ``x``, and the
    inverse, ``2 * n**3 / 3`` flops, for that of ``logdet``; ``status`` and ``info`` have none.
    ``vmap`` over `b` is more columns of one call, over `a` one call after the other.

    Args:
      a: ``(N, N)`` float32, float64, complex64 or complex128. Only its upper triangle is read. Rows
        sharded over the mesh, ``P("x", None)``, is the case without cost; any other sharding is
        resharded by XLA first. An N that the devices do not divide cannot be sharded in JAX: pass
        `a` replicated, or in padded storage with ``n=``.
      b: ``(N,)`` or ``(N, k)`` of A's dtype, replicated or sharded; ``n`` rows do as well.
      T_A: tile size; chosen if left out.
      mesh: a concrete or abstract mesh. If left out: that of ``a.sharding``, of
        ``jax.typeof(a)``, or the context's, in this order.
      in_specs: the spec of A: ``P("x", None)``, a 1-tuple of it, or the pair ``(spec of A, spec of
        b)``. If left out: that of `a` where it is known, else rows over all axes of the mesh.
      return_status: also return the status.
      return_logdet: also return :math:`\log\det A`.
      pad: taken for compatibility; no size needs padding.
      matrix_specs: another name of `in_specs`.
      donate: factor in the storage of `a`, which is then deleted, instead of in a copy. Under a
        transformation the outermost ``jit`` is what donates. An `a` that the devices do not divide
        is padded, and stays; so does one that is not sharded by rows.
      n: the true order, if `a` is padded storage. Rows and columns from `n` on are never read.
      return_info: also return the info.
      engine: ``"jaxmg"``, or ``"cusolvermg"`` for NVIDIA's library, the published system's: all
        GPUs of the mesh are driven by one thread of one process, the call returns when they are
        done, `T_A` is 2048 or less if left out, and right-hand sides are solved on one GPU. They
        must be of one host, where each process must see all of them. If left out:
        ``JAXMG_ENGINE``, read when the call is traced, else ``"jaxmg"``. Where derivatives are
        asked for, jaxmg's own computes the solution too.

    Returns:
      ``x[, logdet][, status][, info]``. ``x`` has the shape of `b`. It is sharded by rows where `b`
      is known to be, over the axes of A's rows (an array outside ``jit``, or Explicit axes), else
      replicated; rows from ``n`` on are zero. ``logdet`` is a scalar of A's real dtype. ``status``
      is an int32 scalar, 7 if A is not positive definite, else 0; ``info``, int32, is then the
      order of the first minor that is not positive definite (LAPACK), else 0. If it is not 0, every
      entry of ``x`` and ``logdet`` is NaN.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      RuntimeError: there is no library for the devices, or for `engine`; likewise.
      jax.errors.JaxRuntimeError: a device failed or did not come to the call within
        ``JAXMG_TIMEOUT`` seconds; the next call works.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(jnp.diag(jnp.array([1.0, 4.0] * 8)), NamedSharding(mesh, P("x", None)))
      >>> x = jaxmg.potrs(a, jnp.ones(16), mesh=mesh, in_specs=P("x", None))
      >>> print(x[:4])
      [1.   0.25 1.   0.25]
      >>> f = lambda a: jaxmg.potrs(a, jnp.ones(16), return_logdet=True)[1]
      >>> print(jax.device_get(jax.jit(jax.grad(f))(a))[0, :2])
      [1. 0.]
    """
    del pad
    out = _call(
        "potrs",
        a,
        b,
        T_A,
        mesh,
        in_specs,
        matrix_specs,
        n,
        engine,
        in_place=donate,
        with_logdet=return_logdet,
        with_work=False,
    )
    return out.scalars.after(out.x, logdet=return_logdet, status=return_status, info=return_info)


def _call(
    routine: str,
    a: Any,
    b: Any,
    T_A: Any,
    mesh: Any,
    in_specs: Any,
    matrix_specs: Any,
    n: Any,
    engine: str | None,
    *,
    in_place: bool,
    with_logdet: bool,
    with_work: bool,
) -> Solution:
    """Checks the arguments of a global form, finds its layout and runs it."""
    refuse_local_blocks(routine, "call potrs_shardmap_ctx(a, b, T_A) there")
    matrix = global_matrix(routine, a, T_A, mesh, in_specs, matrix_specs, n)
    a, layout = matrix.a, matrix.layout
    b = as_array(routine, "b", b)
    check_right_hand_side(routine, a, b, {matrix.order, a.shape[0]})
    traced = _compat.is_traced(a) or _compat.is_traced(b)
    # XLA aliases a donated A only with a result of A's shape.
    donate = matrix.is_given_away(in_place and not with_work and not traced)
    options = Options(
        matrix.order,
        matrix.tile,
        in_place,
        is_by_rows(b, layout),
        with_logdet,
        with_work or donate,
        find_engine(routine, engine, layout.mesh),
    )
    b = place(b, layout.mesh, P())
    with _compat.foreign_context_left(layout.mesh, traced):
        out: Solution = compiled(_solve, donate, layout=layout, options=options)(a, b)
        return out


def potrs_jit_ctx(
    a: jax.Array,
    b: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    *,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    return_logdet: bool = False,
    pad: bool = True,
    n: int | None = None,
    engine: str | None = None,
) -> tuple[jax.Array, ...]:
    """`potrs` for callers who manage A's storage themselves (the 1.x calling convention).

    Factors in the storage of `a` if the caller's ``jit`` donates it, or if it is a temporary there,
    else in a copy.

    Args:
      a, b, T_A, mesh, in_specs, matrix_specs, pad, n, engine: as in `potrs`.
      return_logdet: also return the log-determinant.

    Returns:
      ``(work, x[, logdet], status)``: ``work`` has the shape and the sharding of A and holds what
      the factorisation left there; the others are as in `potrs`.

    Raises:
      TypeError, ValueError: as in `potrs`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> solve = jax.jit(lambda a, b: jaxmg.potrs_jit_ctx(a, b, mesh=mesh), donate_argnums=0)
      >>> work, x, status = solve(a, jnp.ones(16))
      >>> print(x[:4], int(status), a.is_deleted())
      [0.25 0.25 0.25 0.25] 0 True
    """
    del pad
    out = _call(
        "potrs_jit_ctx",
        a,
        b,
        T_A,
        mesh,
        in_specs,
        matrix_specs,
        n,
        engine,
        in_place=True,
        with_logdet=return_logdet,
        with_work=True,
    )
    returned: tuple[jax.Array, ...] = out.scalars.after(
        out.work, out.x, logdet=return_logdet, status=True, info=False
    )
    return returned


def potrs_shardmap_ctx(
    a: jax.Array,
    b: jax.Array,
    T_A: int | None = None,
    return_logdet: bool | AnyMesh = False,
    pad: bool | P = True,
    *,
    axis_name: str | tuple[str, ...] | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    n: int | None = None,
    engine: str | None = None,
) -> tuple[jax.Array, ...]:
    """`potrs` on the local blocks of a caller's ``shard_map``.

    Every device along the axis must make the call. Outside a ``shard_map`` it takes global arrays
    and is `potrs_jit_ctx`.

    Args:
      a: ``(N / P, N)``, the rows of A that this device holds.
      b: ``(N,)`` or ``(N, k)``, all of it on every device.
      T_A, n, engine: as in `potrs`.
      return_logdet: also return the log-determinant.
      pad: taken for compatibility.
      axis_name: the mesh axis, or axes, that A's rows are sharded over; needed only if more than
        one axis is manual. Devices along the other axes are teams of their own.
      mesh, in_specs, matrix_specs: for global arrays only, as in `potrs`.

    Returns:
      ``(x[, logdet], status)``, the same on every device: ``x`` of the shape of `b`, ``logdet`` and
      ``status`` of shape ``(1,)``.

    Raises:
      TypeError, ValueError: as in `potrs`.
      NotImplementedError: it is differentiated inside the ``shard_map``; `potrs` can be.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> def local(a, b):
      ...     x, status = jaxmg.potrs_shardmap_ctx(a, b)
      ...     return x
      >>> specs = {"in_specs": (P("x", None), P()), "out_specs": P(), "check_vma": False}
      >>> solve = jax.shard_map(local, mesh=mesh, **specs)
      >>> print(solve(a, jnp.ones(16))[:4])
      [0.25 0.25 0.25 0.25]
    """
    given = told_apart(return_logdet, pad, False, mesh, matrix_specs)
    routine = "potrs_shardmap_ctx"
    if not _compat.manual_axes():
        refuse_axis_name(routine, axis_name)
        return potrs_jit_ctx(
            a,
            b,
            T_A,
            given.mesh,
            given.matrix_specs,
            in_specs=in_specs,
            return_logdet=given.flag,
            n=n,
            engine=engine,
        )
    block = local_block(routine, a, T_A, axis_name, n)
    b = as_array(routine, "b", b)
    check_right_hand_side(routine, block.a, b, {block.order, block.a.shape[1]})
    options = Options(block.order, block.tile, engine=find_engine(routine, engine, mesh=None))
    call = functools.partial(
        _potrs_local, axes=block.axes, group_axes=block.group_axes, options=options
    )
    out: Outcome = without_derivatives(routine, call, "differentiate potrs, outside the shard_map")(
        block.a, b
    )
    logdet = (out.logdet,) if given.flag else ()
    return (out.x, *logdet, status_of(out.info))
