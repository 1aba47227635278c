"""The column layouts: block, 1-D block-cyclic, and the paper's padded form of it."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from . import _compat
from ._arguments import as_array, check_square, check_tile, describe
from ._derivatives import without_derivatives, without_vmap
from ._entry import compiled
from ._layout import AnyMesh, Layout, call_handler, resolve, take_seat, take_team


def _required_tile(routine: str, tile: Any) -> int:
    checked = check_tile(routine, tile)
    if checked is None:
        raise TypeError(f"{routine}: T_A: expected the tile size, an integer, got None")
    return checked


def whole(routine: str, name: str, value: Any) -> int:
    """`value`, which must be an integer; TypeError names it if it is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{routine}: {name}: expected an integer, got {describe(value)}; pass int({name})"
        ) from None


def _check_block(routine: str, block: Any) -> None:
    if not isinstance(block, (jax.Array, np.ndarray)):
        raise TypeError(
            f"{routine}: block: expected a JAX or NumPy array, got {describe(block)}; pass "
            "jnp.asarray(block)"
        )
    if block.ndim == 0:
        raise ValueError(
            f"{routine}: block: expected rows, got {describe(block)}; pass block[None]"
        )


def rows_stored(rank: Any, local: Any, ranks: int, n_loc: int, tile: int, xp: Any = np) -> Any:
    """Which rows of A are rows `local` of `rank` in the 1-D block-cyclic layout.

    Tiles of `tile` rows are dealt to the ranks in turn. With ``n / ranks = q * tile + r`` these
    are q rounds of full tiles, then one round of tiles of r rows, so that every rank holds
    ``n / ranks`` rows before and after. `xp` is NumPy, or ``jax.numpy`` for arrays of JAX.
    """
    full = n_loc // tile * tile  # rows of a rank in full tiles
    first = local // tile * tile
    width = xp.where(local < full, tile, n_loc - full)
    return first * ranks + rank * width + (local - first)


def cyclic_order(n: int, ranks: int, tile: int) -> np.ndarray:
    """The rows of A in the order in which the 1-D block-cyclic layout stores them.

    Entry ``p * (n // ranks) + l`` is the row of A that is row l of rank p.
    """
    n_loc = n // ranks
    rank, local = np.divmod(np.arange(n), max(n_loc, 1))
    order: np.ndarray = rows_stored(rank, local, ranks, n_loc, tile)
    return order


def _cyclic_local(
    a: jax.Array, axes: tuple[str, ...], group_axes: tuple[str, ...], tile: int
) -> jax.Array:
    """The call of one device, inside a ``shard_map``, on its rows of A."""
    operands = (*take_seat(axes, group_axes), a)
    results = ((a.shape, a.dtype),)
    team = take_team(axes, group_axes)
    return call_handler("jaxmg_cyclic", team, operands, results, tile=tile)[0]


def _cyclic_global(a: jax.Array, layout: Layout, tile: int) -> jax.Array:
    def local(rows: jax.Array) -> jax.Array:
        return _cyclic_local(rows, layout.axes, layout.group_axes, tile)

    def call(a: jax.Array) -> jax.Array:
        move = _compat.shard_map(local, layout.mesh, (layout.rows,), layout.rows)
        return move(_compat.reshard(a, layout.mesh, layout.rows))

    call = without_vmap("cyclic_1d", call, "call it for one matrix after the other, jax.lax.map")
    call = without_derivatives("cyclic_1d", call, "it is an aid for debugging; differentiate A")
    return call(a)


def cyclic_1d(
    a: jax.Array,
    T_A: int,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    pad: bool = True,
) -> jax.Array:
    """A in the 1-D block-cyclic layout that the solvers work on, to look at it.

    Tiles of `T_A` rows are dealt to the P devices in turn. With ``N / P = q * T_A + r`` these are q
    rounds of full tiles, then one round of P tiles of r rows: each device holds ``N / P`` rows
    before and after, and nothing is padded. No solver needs this call, they redistribute A
    themselves. Works eagerly and under ``jit``.

    Args:
      a: ``(N, N)`` float32, float64, complex64 or complex128, N a multiple of the devices. Rows
        sharded over the mesh, ``P("x", None)``, is the case without cost; any other sharding is
        resharded first. It is not changed.
      T_A: tile size; more than ``N / P`` does the same as ``N / P``.
      mesh: a concrete or abstract mesh. If left out: that of ``a.sharding``, of
        ``jax.typeof(a)``, or the context's, in this order.
      in_specs: the spec of A: ``P("x", None)`` or a 1-tuple of it. If left out: that of `a` where
        it is known, else rows over all axes of the mesh.
      pad: taken for compatibility; no size needs padding.

    Returns:
      ``(N, N)``: the rows of A in their new order, sharded by rows. `verify_cyclic` checks it.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      jax.errors.JaxRuntimeError: a device failed or did not come to the call within
        ``JAXMG_TIMEOUT`` seconds; the next call works.
      NotImplementedError: under ``grad``, ``jvp`` or ``vmap``.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
      >>> rows = jnp.arange(8.0)[:, None] * jnp.ones(8)
      >>> a = jax.device_put(rows, NamedSharding(mesh, P("x", None)))
      >>> print(jaxmg.cyclic_1d(a, 2, mesh, P("x", None))[:, 0])
      [0. 1. 4. 5. 2. 3. 6. 7.]
    """
    del pad
    routine = "cyclic_1d"
    if _compat.manual_axes():
        raise ValueError(
            "cyclic_1d: expected global arrays, got local blocks: it was called inside a "
            "shard_map; call it outside"
        )
    a = as_array(routine, "a", a)
    check_square(routine, a)
    tile = _required_tile(routine, T_A)
    layout = resolve(routine, a, mesh, in_specs, None)
    if a.shape[0] % layout.ranks:
        raise ValueError(
            f"cyclic_1d: a: expected a number of rows that the {layout.ranks} devices divide, got "
            f"{describe(a)}; pad it to {a.shape[0] + -a.shape[0] % layout.ranks} rows and columns"
        )
    traced = _compat.is_traced(a)
    if isinstance(layout.mesh, Mesh) and not traced:
        a = jax.device_put(a, NamedSharding(layout.mesh, layout.rows))
    tile = max(1, min(tile, a.shape[0] // layout.ranks))
    with _compat.foreign_context_left(layout.mesh, traced):
        moved: jax.Array = compiled(_cyclic_global, False, layout=layout, tile=tile)(a)
    return moved


def verify_cyclic(A: jax.Array, A_cyclic: jax.Array, T_A: int) -> None:
    """Checks that `A_cyclic` is what `cyclic_1d` makes of `A`, bit for bit (NaN equals NaN).

    Args:
      A: ``(N, N)``, a global array.
      A_cyclic: ``(N, N)``, sharded by rows; its sharding tells the number of devices.
      T_A: the tile size.

    Raises:
      AssertionError: it is not; the message names the first wrong row.
      TypeError: `A` is no array, or `A_cyclic` no JAX array, so that the devices are not known.
      ValueError: `A_cyclic` is not sharded by rows.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
      >>> a = jax.device_put(jnp.eye(8), NamedSharding(mesh, P("x", None)))
      >>> jaxmg.verify_cyclic(a, jaxmg.cyclic_1d(a, 2, mesh, P("x", None)), 2)
    """
    tile = _required_tile("verify_cyclic", T_A)
    if not isinstance(A, (jax.Array, np.ndarray)):
        raise TypeError(
            f"verify_cyclic: A: expected a JAX or NumPy array, got {describe(A)}; pass what "
            "cyclic_1d was given"
        )
    if not isinstance(A_cyclic, jax.Array):
        raise TypeError(
            "verify_cyclic: A_cyclic: expected a sharded JAX array, which tells the number of "
            f"devices, got {describe(A_cyclic)}; pass what cyclic_1d returned"
        )
    if A.shape != A_cyclic.shape:
        raise AssertionError(
            f"verify_cyclic: A_cyclic: expected the shape of A, {describe(A)}, got "
            f"{describe(A_cyclic)}"
        )
    n = A.shape[0]
    if n == 0:
        return
    if not _is_by_rows(A_cyclic):
        raise ValueError(
            "verify_cyclic: A_cyclic: expected rows that are sharded over the devices, which tells "
            f"their number, got {describe(A_cyclic)} with {A_cyclic.sharding}; pass what cyclic_1d "
            "returned"
        )
    n_loc = A_cyclic.sharding.shard_shape(A_cyclic.shape)[0]
    order = cyclic_order(n, n // n_loc, tile)
    wanted, got = np.asarray(A)[order], np.asarray(A_cyclic)
    same = (wanted == got) | (np.isnan(wanted) & np.isnan(got))
    wrong = np.flatnonzero(~same.all(axis=1))
    if wrong.size:
        rank, local = divmod(int(wrong[0]), n_loc)
        raise AssertionError(
            f"verify_cyclic: row {wrong[0]} of A_cyclic (device {rank}, its row {local}) is not "
            f"row {order[wrong[0]]} of A, as the layout wants for T_A = {tile} on {n // n_loc} "
            f"devices; {wrong.size} of {n} rows are wrong"
        )


def _is_by_rows(a: jax.Array) -> bool:
    """Whether `a` lies on one device, or its first axis alone is sharded, if over one device."""
    if len(a.sharding.device_set) == 1:
        return True
    first, *others = a.sharding.shard_shape(a.shape)
    if tuple(others) != a.shape[1:]:
        return False
    spec = getattr(a.sharding, "spec", ())
    return first < a.shape[0] or any(axes is not None for axes in spec[:1])


def calculate_padding(shard_size: int, T_A: int) -> int:
    """Rows that pad a shard to whole tiles, ``(-shard_size) % T_A``.

    Nothing in this library needs such padding; programs written for layouts that do may.

    Args:
      shard_size: rows of a shard.
      T_A: the tile size.

    Returns:
      0 to ``T_A - 1``.

    Raises:
      TypeError: one of them is no integer.
      ValueError: `T_A` is not positive, or `shard_size` is negative.

    Example:
      >>> import jaxmg
      >>> jaxmg.calculate_padding(10, 4)
      2
    """
    tile = _required_tile("calculate_padding", T_A)
    rows = whole("calculate_padding", "shard_size", shard_size)
    if rows < 0:
        raise ValueError(f"calculate_padding: shard_size: expected 0 or more, got {rows}")
    return -rows % tile


def pad_rows(block: jax.Array, padding: int) -> jax.Array:
    """Appends `padding` rows of zeros to a local block; for use inside a ``shard_map``.

    Args:
      block: ``(rows, columns)``.
      padding: how many rows.

    Returns:
      ``(rows + padding, columns)``.

    Raises:
      TypeError: `block` is no array, or `padding` no integer.
      ValueError: `padding` is negative, or `block` has no axes.

    Example:
      >>> import jax.numpy as jnp, jaxmg
      >>> jaxmg.pad_rows(jnp.ones((3, 2)), 1).shape
      (4, 2)
    """
    _check_block("pad_rows", block)
    padding = whole("pad_rows", "padding", padding)
    if padding < 0:
        raise ValueError(f"pad_rows: padding: expected 0 or more, got {padding}")
    zeros = ((0, 0),) * (block.ndim - 1)
    return jnp.pad(block, ((0, padding), *zeros))


def unpad_rows(block: jax.Array, padding: int) -> jax.Array:
    """Drops the last `padding` rows of a local block: undoes `pad_rows`.

    Args:
      block: ``(rows, columns)``.
      padding: how many rows.

    Returns:
      ``(rows - padding, columns)``.

    Raises:
      TypeError: `block` is no array, or `padding` no integer.
      ValueError: `padding` is negative, or more than the rows there are.

    Example:
      >>> import jax.numpy as jnp, jaxmg
      >>> jaxmg.unpad_rows(jnp.ones((4, 2)), 1).shape
      (3, 2)
    """
    _check_block("unpad_rows", block)
    padding = whole("unpad_rows", "padding", padding)
    if not 0 <= padding <= block.shape[0]:
        raise ValueError(
            f"unpad_rows: padding: expected 0 to {block.shape[0]}, the rows of the block, got "
            f"{padding}"
        )
    return block[: block.shape[0] - padding]


def get_cols_cyclic(N: int, N_batch: int, T_A: int, num_devices: int) -> list[tuple[int, int, int]]:
    """Where each column of a matrix goes in the paper's padded layout (its figure 1).

    Every device stores `N_batch` columns. In the block layout the first ``N / num_devices`` of them
    are columns of the matrix, the rest is padding. In the cyclic layout tiles of `T_A` columns of
    the matrix, the last one perhaps narrower, are dealt to the devices in turn, and each device
    keeps its own side by side from its first column on; padding follows. Positions count through
    the devices' storage: position ``p * N_batch + l`` is column l of device p.

    The solvers here pad nothing; where `T_A` divides ``N / num_devices`` the two layouts are the
    same (`cyclic_1d` describes the other one).

    Args:
      N: columns of the matrix, a multiple of `num_devices`.
      N_batch: columns that a device stores; ``N / num_devices`` rounded up to whole tiles
        (`calculate_padding`) is always enough.
      T_A: tile size.
      num_devices: number of devices.

    Returns:
      A list of ``(column, source, destination)`` for the columns 0 to ``N - 1``: the column of the
      matrix, its position in the block layout, its position in the cyclic layout.

    Raises:
      TypeError: an argument is no integer.
      ValueError: `num_devices` does not divide `N`, or `N_batch` columns are too few.

    Example:
      >>> import jaxmg
      >>> jaxmg.get_cols_cyclic(6, 4, 2, 2)
      [(0, 0, 0), (1, 1, 1), (2, 2, 4), (3, 4, 5), (4, 5, 2), (5, 6, 3)]
    """
    routine = "get_cols_cyclic"
    tile = _required_tile(routine, T_A)
    N, N_batch = whole(routine, "N", N), whole(routine, "N_batch", N_batch)
    num_devices = whole(routine, "num_devices", num_devices)
    if num_devices < 1:
        raise ValueError(f"{routine}: num_devices: expected at least 1, got {num_devices}")
    if N < 0 or N % num_devices:
        raise ValueError(f"{routine}: N: expected a multiple of the {num_devices} devices, got {N}")
    columns = np.arange(N)
    device, column_there = np.divmod(columns, max(N // num_devices, 1))
    source = device * N_batch + column_there
    tiles, column_of_tile = np.divmod(columns, tile)
    round_, owner = np.divmod(tiles, num_devices)
    local = round_ * tile + column_of_tile
    needed = max(int(local.max(initial=-1)) + 1, N // num_devices)
    if N_batch < needed:
        raise ValueError(
            f"{routine}: N_batch: expected at least {needed} columns a device, got {N_batch}; pass "
            f"N // num_devices + calculate_padding(N // num_devices, T_A)"
        )
    destination = owner * N_batch + local
    return list(zip(columns.tolist(), source.tolist(), destination.tolist(), strict=True))
