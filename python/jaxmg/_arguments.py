"""Checks that all routines share. Every message names the argument, what was expected, what came,
and the line that mends it."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SUPPORTED = ("float32", "float64", "complex64", "complex128")
_SUPPORTED = frozenset(map(np.dtype, SUPPORTED))

#: No matrix has as many columns: a larger `T_A` is one tile as well.
LARGEST_TILE = 2**31 - 1


def describe(x: Any) -> str:
    """`x` in JAX's notation, ``float32[8192@x,8192]`` where the sharding is known."""
    if isinstance(x, (jax.Array, np.ndarray)):
        aval = jax.typeof(x) if isinstance(x, jax.Array) else None
        if aval is not None:
            return str(aval)
        return f"{x.dtype.name}[{','.join(map(str, x.shape))}]"
    return type(x).__name__


def as_array(routine: str, name: str, x: Any) -> jax.Array:
    """`x` as a JAX array of a supported dtype; NumPy arrays are taken too."""
    if not isinstance(x, (jax.Array, np.ndarray, np.generic)):
        raise TypeError(
            f"{routine}: {name}: expected a JAX or NumPy array, got {type(x).__name__}; "
            f"pass jnp.asarray({name})"
        )
    if x.dtype not in _SUPPORTED:
        raise TypeError(
            f"{routine}: {name}: supports float32, float64, complex64 and complex128, got "
            f"{x.dtype.name}; convert it first, {name}.astype(jnp.float32)"
        )
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def check_square(routine: str, a: jax.Array) -> None:
    if a.ndim != 2:
        raise ValueError(
            f"{routine}: a: expected a rank-2 matrix A, got {describe(a)} of rank {a.ndim}; a "
            "batch of matrices is solved one by one (jax.lax.map)"
        )
    if a.shape[0] != a.shape[1]:
        order = min(a.shape)
        raise ValueError(
            f"{routine}: a: expected A to be square, got {describe(a)}; pass "
            f"a[:{order}, :{order}], if that is A"
        )


def check_right_hand_side(routine: str, a: jax.Array, b: jax.Array, rows: set[int]) -> None:
    if b.ndim not in (1, 2):
        shape = "b.shape[0], -1" if b.ndim else "1"
        raise ValueError(
            f"{routine}: b: expected a rank-1 or rank-2 RHS, got {describe(b)}; "
            f"pass b.reshape({shape})"
        )
    if b.dtype != a.dtype:
        raise TypeError(
            f"{routine}: b: expected matching A/B dtypes, got {describe(b)} for a = {describe(a)}; "
            "nothing is promoted, pass b.astype(a.dtype)"
        )
    if b.shape[0] not in rows:
        raise ValueError(
            f"{routine}: b: expected matching leading dimensions, "
            f"{' or '.join(map(str, sorted(rows)))} rows, got {describe(b)}; pass b with a row for "
            "each of A's"
        )


def check_tile(routine: str, tile: Any) -> int | None:
    if tile is None:
        return None
    try:
        value = operator.index(tile)
    except TypeError:
        raise TypeError(
            f"{routine}: T_A: expected an integer or None, got {describe(tile)}; leave T_A out to "
            "have it chosen, and under jit make it static"
        ) from None
    if value < 1:
        raise ValueError(
            f"{routine}: T_A must be positive, got {value}; leave T_A out to have it chosen"
        )
    return min(value, LARGEST_TILE)


def check_order(routine: str, storage: int, n: Any) -> int:
    if n is None:
        return storage
    try:
        value = operator.index(n)
    except TypeError:
        raise TypeError(
            f"{routine}: n: expected an integer, the true order of the padded matrix, got "
            f"{describe(n)}; under jit make it static"
        ) from None
    if not 0 <= value <= storage:
        raise ValueError(
            f"{routine}: n: expected the true order of a matrix with {storage} rows of storage, "
            f"got {value}; leave n out if nothing is padded"
        )
    return value
