"""What the rules for JAX's transformations have in common; each routine's rules stand beside it.

With A Hermitian, S = (dA + dA^H) / 2, X = A^-1, and A V = V diag(w), M = V^H S V:

    x = A^-1 b       dx = A^-1 (db - S x)       with the same factor: `lax.custom_linear_solve`
    log det A        Re tr(X dA)
    X                -X S X
    w                diag(M)
    V                V (F * M)                  F_ij = 1 / (w_j - w_i), 0 on the diagonal

So gradients with respect to A are Hermitian, as with ``lax.linalg.cholesky``, though one triangle
is read, and they are spread as A is. The formulas are made of routines that have rules themselves,
and hold for all orders. docs/design.md has what they cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap, sequential_vmap

from . import _compat
from ._layout import Layout
from ._products import hermitian_part, multiply

#: ``vmap`` is a sequence of calls: each has all devices.
in_sequence = sequential_vmap


def more_columns(
    call: Callable[[Any, jax.Array], tuple[jax.Array, Any]],
    wide_call: Callable[[Any, jax.Array], tuple[jax.Array, Any]] | None = None,
) -> Callable[[Any, jax.Array], tuple[jax.Array, Any]]:
    """``call(matrix, b) -> (x, rest)`` that ``vmap`` over `b` alone gives more columns instead.

    That is one ``wide_call(matrix, b)``. ``vmap`` over the matrix is a sequence of calls.
    """
    call = custom_vmap(call)

    @call.def_vmap
    def _(size: int, batched: Any, matrix: Any, b: jax.Array) -> tuple[Any, Any]:
        if any(jax.tree.leaves(batched[0])):
            in_axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched))
            out = jax.vmap(sequential_vmap(call), in_axes)(matrix, b)
            return out, jax.tree.map(lambda _: True, out)
        rows = b.shape[1]
        columns = jnp.moveaxis(b, 0, 1).reshape(rows, -1)
        x, rest = (wide_call or call)(matrix, columns)
        x = jnp.moveaxis(x.reshape(rows, size, *b.shape[2:]), 1, 0)
        return (x, rest), (True, jax.tree.map(lambda _: False, rest))

    return call


def inverse_tangent(x: jax.Array, da: jax.Array, layout: Layout) -> jax.Array:
    """-X S X: 4 n^3 flops, shared by the devices."""

    def product(s: jax.Array) -> jax.Array:
        return -multiply(multiply(x, s, layout), x, layout)

    return _compat.linear(product, hermitian_part(da, layout))


def without_derivatives(routine: str, call: Callable[..., Any], instead: str) -> Callable[..., Any]:
    """`call`, refusing to be differentiated in our words instead of JAX's."""
    call = jax.custom_jvp(call)

    @call.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        raise NotImplementedError(
            f"jaxmg.{routine} has no rule for jax.grad, jax.vjp or jax.jvp; {instead}"
        )

    return call


def without_vmap(routine: str, call: Callable[..., Any], instead: str) -> Callable[..., Any]:
    """`call`, refusing to be batched in our words instead of JAX's."""
    call = custom_vmap(call)

    @call.def_vmap
    def _(size: int, batched: Any, *operands: Any) -> Any:
        raise NotImplementedError(f"jaxmg.{routine} has no rule for jax.vmap; {instead}")

    return call
