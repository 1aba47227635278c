"""Solves with a Hermitian positive definite matrix that is spread over devices."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._arguments import (
    as_array,
    check_order,
    check_right_hand_side,
    check_square,
    check_tile,
)
from ._layout import AnyMesh, Layout, resolve

#: What status is when A is not positive definite, as in the published library.
NOT_POSITIVE_DEFINITE = 7


class Options(NamedTuple):
    """What a compiled call depends on besides shapes and dtypes."""

    order: int
    tile: int | None
    in_place: bool


class Outcome(NamedTuple):
    """Results of a call; `work` is A's storage where it was factored in place, else empty."""

    x: jax.Array
    logdet: jax.Array
    info: jax.Array
    work: jax.Array


def _potrs_local(
    a: jax.Array, b: jax.Array, axes: tuple[str, ...], group_axes: tuple[str, ...], options: Options
) -> Outcome:
    """The call of one device, inside a ``shard_map``: `a` its rows, `b` all right-hand sides."""
    ranks = lax.axis_size(axes)
    rows, columns = a.shape
    dtype = np.dtype(a.dtype)
    rhs = 1 if b.ndim == 1 else b.shape[1]
    tile = options.tile or _library.default_cholesky_tile(dtype, columns, ranks)
    tile = max(1, min(tile, rows))
    workspace = _library.potrs_workspace(
        dtype, columns, options.order, ranks, tile, rhs, options.in_place
    )
    real = np.finfo(dtype).dtype
    rank = lax.axis_index(axes).astype(jnp.int32)
    group = lax.axis_index(group_axes).astype(jnp.int32) if group_axes else jnp.int32(0)
    x, logdet, info, _, work = jax.ffi.ffi_call(
        "jaxmg_potrs",
        (
            jax.ShapeDtypeStruct(b.shape, dtype),
            jax.ShapeDtypeStruct((1,), real),
            jax.ShapeDtypeStruct((1,), np.int32),
            jax.ShapeDtypeStruct((workspace,), np.uint8),
            jax.ShapeDtypeStruct(a.shape if options.in_place else (0, 0), dtype),
        ),
        input_output_aliases={2: 4} if options.in_place else {},
    )(
        rank,
        group,
        a,
        b,
        ranks=np.int64(ranks),
        order=np.int64(options.order),
        tile=np.int64(tile),
        in_place=np.int64(options.in_place),
    )
    return Outcome(x, logdet, info, work)


def _potrs_global(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Outcome:
    """The call on global arrays, `a` with a number of rows that the ranks divide."""

    def local(a_rows: jax.Array, b_all: jax.Array) -> Outcome:
        return _potrs_local(a_rows, b_all, layout.axes, layout.group_axes, options)

    solve = _compat.shard_map(
        local, layout.mesh, (layout.rows, P()), Outcome(P(), P(), P(), layout.rows)
    )
    return solve(_compat.reshard(a, layout.mesh, layout.rows), _compat.reshard(b, layout.mesh, P()))


def _pad(a: jax.Array, layout: Layout) -> jax.Array:
    """`a` in storage that the ranks divide; a matrix that they do not is never sharded yet."""
    padding = -a.shape[0] % layout.ranks
    return jnp.pad(a, ((0, padding), (0, padding))) if padding else a


def _solve(a: jax.Array, b: jax.Array, layout: Layout, options: Options) -> Outcome:
    return _potrs_global(_pad(a, layout), b, layout, options)


@functools.lru_cache(maxsize=256)
def _compiled(layout: Layout, options: Options, donate: bool) -> Any:
    """Our own jit, so that eager calls compile once. Donation needs it too: XLA aliases a donated
    A only with a result of A's shape, `work`, which the caller of this drops."""
    return jax.jit(
        functools.partial(_solve, layout=layout, options=options),
        donate_argnums=(0,) if donate else (),
    )


def _place(x: jax.Array, mesh: AnyMesh, spec: P) -> jax.Array:
    """Arrays that are committed to other devices than the mesh's are moved there."""
    if _compat.is_traced(x) or not isinstance(mesh, jax.sharding.Mesh):
        return x
    if x.sharding.device_set == set(mesh.devices.flat):
        return x
    return jax.device_put(x, NamedSharding(mesh, spec))


def _checked_operands(routine: str, a: Any, b: Any, n: Any) -> tuple[jax.Array, jax.Array, int]:
    a = as_array(routine, "a", a)
    b = as_array(routine, "b", b)
    check_square(routine, a)
    order = check_order(routine, a, n)
    check_right_hand_side(routine, a, b, {order, a.shape[0]})
    return a, b, order


def _status(info: jax.Array) -> jax.Array:
    return jnp.where(info != 0, NOT_POSITIVE_DEFINITE, 0).astype(jnp.int32)


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
) -> Any:
    r"""Solves :math:`A x = b` for a Hermitian positive definite A that is spread over devices.

    Factors :math:`A = U^H U` (LAPACK ``potrf``, ``potrs``): ``n**3 / 3 + 2 * n**2 * k`` flops, times
    4 for complex dtypes. Works eagerly, under ``jit`` and inside ``scan``, ``fori_loop`` and ``cond``.

    Args:
      a: ``(N, N)`` float32, float64, complex64 or complex128. Only its upper triangle is read. Rows
        sharded over the mesh, ``P("x", None)``, is the case without cost; any other sharding is
        resharded by XLA first. An N that the devices do not divide cannot be sharded in JAX: pass
        `a` replicated, or in padded storage with ``n=``.
      b: ``(N,)`` or ``(N, k)`` of A's dtype, replicated or sharded; ``n`` rows do as well.
      T_A: tile size; chosen if left out.
      mesh: a concrete or abstract mesh. If left out: that of ``a.sharding``, of ``jax.typeof(a)``, or
        the context's, in this order.
      in_specs: the spec of A: ``P("x", None)``, a 1-tuple of it, or the pair ``(spec of A, spec of
        b)``. If left out: that of `a` where it is known, else rows over all axes of the mesh.
      return_status: also return the status.
      return_logdet: also return :math:`\log\det A`.
      pad: taken for compatibility; no size needs padding.
      matrix_specs: another name of `in_specs`.
      donate: factor in the storage of `a`, which is then deleted, instead of in a copy.
      n: the true order, if `a` is padded storage. Rows and columns from `n` on are never read.
      return_info: also return the info.

    Returns:
      ``x[, logdet][, status][, info]``. ``x`` has the shape of `b`, and its sharding if `b` is a
      concrete row-sharded array, else it is replicated; rows from ``n`` on are zero. ``logdet`` is a
      scalar of A's real dtype. ``status`` is an int32 scalar, 7 if A is not positive definite, else
      0; ``info``, int32, is then the order of the first minor that is not positive definite (LAPACK),
      else 0. If it is not 0, every entry of ``x`` and ``logdet`` is NaN.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      jax.errors.JaxRuntimeError: a device failed or did not come to the call within
        ``JAXMG_TIMEOUT`` seconds; the next call works.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(jnp.diag(jnp.arange(1.0, 17.0)), NamedSharding(mesh, P("x", None)))
      >>> x = jaxmg.potrs(a, jnp.ones(16), mesh=mesh, in_specs=P("x", None))
      >>> print(x[:4])
      [1.         0.5        0.33333334 0.25      ]
    """
    del pad
    routine = "potrs"
    if _compat.manual_axes():
        raise ValueError(
            "potrs: expected global arrays, got local blocks: it was called inside a shard_map; "
            "call potrs_shardmap_ctx(a, b, T_A) there"
        )
    a, b, order = _checked_operands(routine, a, b, n)
    tile = check_tile(routine, T_A)
    layout = resolve(routine, a, mesh, in_specs, matrix_specs)
    row_sharded = a.shape[0] % layout.ranks == 0
    out = _compiled(layout, Options(order, tile, donate), donate)(
        _place(a, layout.mesh, layout.rows if row_sharded else P()), _place(b, layout.mesh, P())
    )
    x = out.x
    results = [x]
    if return_logdet:
        results.append(out.logdet[0])
    if return_status:
        results.append(_status(out.info)[0])
    if return_info:
        results.append(out.info[0])
    return results[0] if len(results) == 1 else tuple(results)
