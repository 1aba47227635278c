"""Inverses of Hermitian positive definite matrices that are spread over devices."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import zero_from_primal
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._arguments import as_array, describe
from ._derivatives import in_sequence, inverse_tangent, without_derivatives
from ._entry import (
    Scalars,
    compiled,
    find_engine,
    global_matrix,
    local_block,
    refuse_axis_name,
    refuse_local_blocks,
    status_of,
)
from ._layout import AnyMesh, Layout, Team, call_handler, call_in_seat, pad_storage, unpadded
from ._products import leading_block, trace_of_product


class Options(NamedTuple):
    """What a compiled call depends on besides shapes and dtypes."""

    order: int
    tile: int | None
    in_place: bool
    engine: str


class Outcome(NamedTuple):
    """Results of a call."""

    inverse: jax.Array
    logdet: jax.Array
    info: jax.Array


def _potri_on(
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
    tile = options.tile or 0  # chosen by the library
    sizes = _library.Sizes(platform, dtype, a.shape[1], options.order, team.ranks, tile)
    workspace = _library.potri_workspace(sizes, options.in_place, options.engine)
    inverse, logdet, info, _ = call_handler(
        "jaxmg_potri",
        team,
        (rank, group, a),
        (
            (a.shape, dtype),
            ((1,), np.finfo(dtype).dtype),
            ((1,), np.int32),
            ((workspace,), np.uint8),
        ),
        {2: 0} if options.in_place else None,
        order=options.order,
        tile=tile,
        in_place=options.in_place,
        engine=_library.ENGINES[options.engine],
    )
    return Outcome(inverse, logdet, info)


def _potri_local(
    a: jax.Array, axes: tuple[str, ...], group_axes: tuple[str, ...], options: Options
) -> Outcome:
    """The call of one device, inside a ``shard_map``, on its rows."""
    call = functools.partial(_potri_on, options=options)
    out: Outcome = in_sequence(lambda a: call_in_seat(call, axes, group_axes, a))(a)
    return out


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _potri_stored(a: jax.Array, layout: Layout, options: Options) -> Outcome:
    """The call on a global array whose rows the ranks divide."""
    by_rows: Any = layout.rows
    everywhere: Any = P()
    invert = _compat.shard_map(
        lambda rows: _potri_local(rows, layout.axes, layout.group_axes, options),
        layout.mesh,
        (by_rows,),
        Outcome(by_rows, everywhere, everywhere),
    )
    out: Outcome = invert(_compat.reshard(a, layout.mesh, layout.rows))
    return out


@_potri_stored.defjvp
def _potri_jvp(
    layout: Layout, options: Options, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[Outcome, Outcome]:
    out: Outcome = _potri_stored(*primals, layout, options)
    x, da = out.inverse, leading_block(*tangents, options.order, layout)
    dlogdet = trace_of_product(x, da, layout).reshape(1)
    return out, Outcome(inverse_tangent(x, da, layout), dlogdet, zero_from_primal(out.info))


def _potri(a: jax.Array, layout: Layout, options: Options) -> tuple[jax.Array, Scalars]:
    if a.size == 0:  # nothing to invert, and XLA refuses a shard_map over nothing
        real = np.finfo(a.dtype).dtype
        return a, Scalars.of(jnp.zeros(1, real), jnp.zeros(1, np.int32))
    out: Outcome = _potri_stored(pad_storage(a, layout), layout, options)
    return unpadded(out.inverse, a.shape[0], layout), Scalars.of(out.logdet, out.info)


def potri(
    a: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    return_status: bool = False,
    pad: bool = True,
    *,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    donate: bool = False,
    n: int | None = None,
    return_logdet: bool = False,
    return_info: bool = False,
    engine: str | None = None,
) -> Any:
    """The inverse of a Hermitian positive definite A that is spread over devices.

    One sweep over the matrix, the factorisation included: n^3 flops, times 4 for complex dtypes
    (LAPACK potrf and potri; Bientinesi, Gunter and van de Geijn, TOMS 2008). Workspace of two to
    four tile columns beside the matrix. The error of the inverse is LAPACK's; where its residual
    matters for a matrix with nearly singular leading blocks, such as the kernel matrix of sorted
    points, ``cho_factor(a).inverse()`` has a small one always.

    Has derivatives of any order, dX = -X S X with S = (dA + dA^H) / 2: 4 n^3 flops more, shared by
    the devices, and no other inverse. ``vmap`` is one call after the other.

    Args:
      a: ``(N, N)`` float32, float64, complex64 or complex128, of which the upper triangle is read.
        As in `potrs`.
      T_A: tile size; chosen by the library if left out.
      mesh, in_specs, matrix_specs: as in `potrs`.
      return_status: also return the status.
      pad: taken for compatibility; nothing is padded.
      donate: invert in the storage of `a`, which is then deleted, if it is sharded by rows.
      n: true order of A in padded storage; the inverse is zero beyond it.
      return_logdet: also return log det A, a scalar of A's real dtype.
      return_info: also return info.
      engine: as in `potrs`. ``"cusolvermg"`` takes `T_A` up to 1023, and 512 or less if it is left
        out: with wider tiles its inverses are wrong.

    Returns:
      ``inv[, logdet][, status][, info]``: ``inv``, both triangles, with A's shape, its rows sharded
      over the mesh; replicated where the devices do not divide N. ``status`` is an int32 scalar, 0
      or 7 (not positive definite, or NaN in A); ``info`` an int32 scalar, the order of the first
      minor that is not positive definite (LAPACK), else 0. If it is not 0, every entry of ``inv``
      and ``logdet`` is NaN.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      jax.errors.JaxRuntimeError: as in `potrs`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> inverse = jaxmg.potri(a, mesh=mesh, in_specs=P("x", None))
      >>> print(jax.device_get(inverse)[0, 0])
      0.25
    """
    del pad
    refuse_local_blocks("potri", "call potri_shardmap_ctx(a, T_A) there")
    matrix = global_matrix("potri", a, T_A, mesh, in_specs, matrix_specs, n)
    a, layout = matrix.a, matrix.layout
    # Padded storage is ours: it need not be copied once more.
    in_place = donate or not matrix.is_divided
    options = Options(
        matrix.order, matrix.tile, in_place, find_engine("potri", engine, layout.mesh)
    )
    donate = matrix.is_given_away(donate)
    with _compat.foreign_context_left(layout.mesh, _compat.is_traced(a)):
        inverse, scalars = compiled(_potri, donate, layout=layout, options=options)(a)
    return scalars.after(inverse, logdet=return_logdet, status=return_status, info=return_info)


def potri_shardmap_ctx(
    a: jax.Array,
    T_A: int | None = None,
    pad: bool = True,
    *,
    axis_name: str | tuple[str, ...] | None = None,
    n: int | None = None,
    engine: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """`potri` on the local blocks of a caller's ``shard_map``.

    Every device along the axis must make the call.

    Args:
      a: ``(N / P, N)``, the rows of A that this device holds.
      T_A, n, engine: as in `potri`.
      pad: taken for compatibility.
      axis_name: as in `potrs_shardmap_ctx`.

    Returns:
      ``(block, status)``: this device's rows of the inverse, both triangles (0.0.x promised the
      upper one only), and an int32 of shape ``(1,)``.

    Raises:
      TypeError, ValueError: as in `potri`.
      NotImplementedError: it is differentiated inside the ``shard_map``; `potri` can be.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(4 * jnp.eye(16), NamedSharding(mesh, P("x", None)))
      >>> invert = jax.shard_map(lambda a: jaxmg.potri_shardmap_ctx(a)[0], mesh=mesh,
      ...                        in_specs=P("x", None), out_specs=P("x", None), check_vma=False)
      >>> print(jax.device_get(invert(a))[0, 0])
      0.25
    """
    del pad
    routine = "potri_shardmap_ctx"
    if not _compat.manual_axes():
        refuse_axis_name(routine, axis_name)
        raise ValueError(
            f"{routine}: expected local blocks inside a shard_map, got a call outside; call "
            "potri(a, T_A, mesh, in_specs) on global arrays"
        )
    block = local_block(routine, a, T_A, axis_name, n)
    options = Options(
        block.order, block.tile, in_place=False, engine=find_engine(routine, engine, mesh=None)
    )
    call = functools.partial(
        _potri_local, axes=block.axes, group_axes=block.group_axes, options=options
    )
    out: Outcome = without_derivatives(routine, call, "differentiate potri, outside the shard_map")(
        block.a
    )
    return out.inverse, status_of(out.info)


@jax.jit
def _symmetrize(a: jax.Array) -> jax.Array:
    upper = jnp.triu(a, 1)
    return jnp.triu(a) + upper.conj().T


def potri_symmetrize(_a: jax.Array) -> jax.Array:
    """A Hermitian matrix from its upper triangle.

    What `potri` and `potri_shardmap_ctx` return needs this no more; programs that were written for
    0.0.x call it.

    Args:
      _a: ``(N, N)``; its strict lower triangle is not read.

    Returns:
      A matrix of the same shape with both triangles.

    Raises:
      TypeError, ValueError: `_a` is not a square matrix of a supported dtype.

    Example:
      >>> import jax.numpy as jnp, jaxmg
      >>> print(jaxmg.potri_symmetrize(jnp.array([[1.0, 2.0], [0.0, 3.0]])))
      [[1. 2.]
       [2. 3.]]
    """
    a = as_array("potri_symmetrize", "_a", _a)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"potri_symmetrize: _a: expected a square matrix, got {describe(a)}")
    symmetric: jax.Array = _symmetrize(a)
    return symmetric
