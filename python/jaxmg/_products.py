"""Products of matrices whose rows are spread over devices, for derivatives.

All take and give storage that the ranks divide, rows sharded if nothing else is said, and are
linear in each matrix, so that JAX differentiates and transposes them. No device ever holds more
than some shards: what others have passes through in blocks, and derivatives gather the blocks again
(``jax.checkpoint``) instead of keeping them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from . import _compat
from ._layout import Layout

#: XLA's default on GPUs is TF32.
_matmul = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def _on_rows(
    local: Callable[..., jax.Array], layout: Layout, *matrices: jax.Array, result: P | None = None
) -> jax.Array:
    """``local(*rows)`` on each device: its rows of the result, if no other spec is given."""
    specs = (layout.rows,) * len(matrices)
    spread = [_compat.reshard(matrix, layout.mesh, layout.rows) for matrix in matrices]
    call = _compat.shard_map(local, layout.mesh, specs, layout.rows if result is None else result)
    y: jax.Array = call(*spread)
    return y


def leading_block(a: jax.Array, order: int, layout: Layout) -> jax.Array:
    """`a` with zeros, whatever is there, in rows and columns from `order` on."""

    def local(rows: jax.Array) -> jax.Array:
        if order == a.shape[0]:
            return rows
        first = lax.axis_index(layout.axes) * rows.shape[0]
        i = first + lax.broadcasted_iota(jnp.int32, rows.shape, 0)
        j = lax.broadcasted_iota(jnp.int32, rows.shape, 1)
        return jnp.where((i < order) & (j < order), rows, 0)

    return _on_rows(local, layout, a)


def columns_to_rows(v: jax.Array, layout: Layout) -> jax.Array:
    """`v`, which is sharded by columns, by rows; the devices exchange blocks, all to all."""

    def local(columns: jax.Array) -> jax.Array:
        return lax.all_to_all(columns, layout.axes, split_axis=0, concat_axis=1, tiled=True)

    exchange = _compat.shard_map(local, layout.mesh, (layout.columns,), layout.rows)
    rows: jax.Array = exchange(_compat.reshard(v, layout.mesh, layout.columns))
    return rows


def hermitian_part(a: jax.Array, layout: Layout) -> jax.Array:
    """(A + A^H) / 2; the devices exchange blocks, all to all."""

    def local(rows: jax.Array) -> jax.Array:
        columns = lax.all_to_all(rows, layout.axes, split_axis=1, concat_axis=0, tiled=True)
        return (rows + columns.conj().T) / 2

    return _on_rows(local, layout, a)


def multiply(a: jax.Array, b: jax.Array, layout: Layout) -> jax.Array:
    """A B, square: 2 n^3 flops, P steps, each with a block of columns of B gathered."""

    def local(a_rows: jax.Array, b_rows: jax.Array) -> jax.Array:
        width = b_rows.shape[0]
        blocks = b_rows.reshape(width, layout.ranks, width).swapaxes(0, 1)

        @jax.checkpoint
        def columns(block: jax.Array) -> jax.Array:
            return _matmul(a_rows, lax.all_gather(block, layout.axes, tiled=True))

        return lax.map(columns, blocks).swapaxes(0, 1).reshape(b_rows.shape)

    return _on_rows(local, layout, a, b)


def hermitian_product(a: jax.Array, x: jax.Array, layout: Layout, by_columns: bool) -> jax.Array:
    """(A + A^H) x / 2 without a transposed A: 4 n^2 flops a column.

    `x` and the result are of shape (n, k) and replicated, or sharded by columns.
    """

    def together(rows: jax.Array, x: jax.Array) -> jax.Array:
        first = lax.axis_index(layout.axes) * rows.shape[0]
        mine = lax.dynamic_slice_in_dim(x, first, rows.shape[0])
        y = _matmul(rows.T, mine.conj()).conj()
        y_mine = lax.dynamic_slice_in_dim(y, first, rows.shape[0]) + _matmul(rows, x)
        y = lax.dynamic_update_slice_in_dim(y, y_mine, first, 0)
        return lax.psum(y, layout.axes) / 2

    def in_turns(rows: jax.Array, x: jax.Array) -> jax.Array:
        """One device's columns after the other's. No loop for XLA: of a sum over devices that JAX
        transposes within one, XLA for GPUs (jax 0.11.2) makes wrong numbers."""
        y = jnp.zeros_like(x)
        for owner in range(layout.ranks):
            y = turn(rows, x, y, owner)
        return y

    @functools.partial(jax.checkpoint, static_argnums=3)
    def turn(rows: jax.Array, x: jax.Array, y: jax.Array, owner: int) -> jax.Array:
        is_mine = lax.axis_index(layout.axes) == owner
        theirs = lax.psum(jnp.where(is_mine, x, 0), layout.axes)
        return jnp.where(is_mine, together(rows, theirs), y)

    spec = layout.columns if by_columns else P()
    local = in_turns if by_columns else together
    spread: Any = _compat.shard_map(local, layout.mesh, (layout.rows, spec), spec)
    y: jax.Array = spread(
        _compat.reshard(a, layout.mesh, layout.rows), _compat.reshard(x, layout.mesh, spec)
    )
    return y


def trace_of_product(x: jax.Array, a: jax.Array, layout: Layout) -> jax.Array:
    """Re tr(X A) for a Hermitian X, where only the Hermitian part of A counts."""

    def local(x_rows: jax.Array, a_rows: jax.Array) -> jax.Array:
        return lax.psum(jnp.sum((x_rows.conj() * a_rows).real), layout.axes)

    return _on_rows(local, layout, x, a, result=P())


def diagonal_of_product(x: jax.Array, y: jax.Array, layout: Layout) -> jax.Array:
    """Re diag(X Y^H), on all devices."""

    def local(x_rows: jax.Array, y_rows: jax.Array) -> jax.Array:
        mine = jnp.sum((x_rows * y_rows.conj()).real, axis=1)
        return lax.all_gather(mine, layout.axes, tiled=True)

    return _on_rows(local, layout, x, y, result=P())


def over_gaps(m: jax.Array, w: jax.Array, layout: Layout) -> jax.Array:
    """M_ij / (w_i - w_j); 0 on the diagonal, and where `w`, which all devices have, ends."""

    def local(rows: jax.Array, w: jax.Array) -> jax.Array:
        first = lax.axis_index(layout.axes) * rows.shape[0]
        i = first + lax.broadcasted_iota(jnp.int32, rows.shape, 0)
        j = lax.broadcasted_iota(jnp.int32, rows.shape, 1)
        stored = jnp.pad(w, (0, m.shape[0] - w.size))
        mine = lax.dynamic_slice_in_dim(stored, first, rows.shape[0])
        gaps = mine[:, None] - stored[None, :]
        is_gap = (i != j) & (i < w.size) & (j < w.size)
        return rows * (1 / jnp.where(is_gap, gaps, jnp.inf)).astype(rows.dtype)

    spread: Any = _compat.shard_map(local, layout.mesh, (layout.rows, P()), layout.rows)
    y: jax.Array = spread(
        _compat.reshard(m, layout.mesh, layout.rows), _compat.reshard(w, layout.mesh, P())
    )
    return y
