"""Cholesky factors that are kept: one factorisation, any number of solves."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import zero_from_primal
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._arguments import as_array, check_right_hand_side, describe
from ._derivatives import in_sequence, inverse_tangent, more_columns
from ._entry import compiled, global_matrix, refuse_local_blocks
from ._layout import (
    AnyMesh,
    Layout,
    Team,
    call_in_seat,
    is_by_rows,
    known_sharding,
    pad_storage,
    place,
    split_rows,
    unpadded,
)
from ._products import hermitian_product, leading_block, trace_of_product


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["storage", "inverses", "log_determinant", "info"],
    meta_fields=["layout", "order", "tile", "rows"],
)
@dataclasses.dataclass(frozen=True)
class CholeskyFactor:
    """A factorisation A = U^H U of a Hermitian positive definite A; made by `cho_factor`.

    A pytree: it passes through ``jit``, ``scan`` and ``device_put``. It can be differentiated with
    respect to the matrix that it was made of, by way of all that it offers: see `cho_factor`.

    Attributes:
      info: int32 scalar; 0, or the order of the first leading minor that is not positive definite
        (LAPACK). If it is not 0 there is no factor: `logdet` and what is solved with it are NaN.
      order: n.
      rows: of the matrix that was factored; n, or more if it was padded.
      storage, inverses, log_determinant, layout, tile: the factor as the library's own routines
        want it: its columns in their cyclic layout, the inverses of its diagonal tiles, and where
        it lives. The tangent of `storage` is that of A, the others have none.
    """

    storage: jax.Array
    inverses: jax.Array
    log_determinant: jax.Array
    info: jax.Array
    layout: Layout
    order: int
    tile: int
    rows: int

    def solve(self, b: jax.Array) -> jax.Array:
        """x with A x = b; see `cho_solve`."""
        return cho_solve(self, b)

    def logdet(self) -> jax.Array:
        """log det A, a scalar of A's real dtype. Costs nothing: it is known.

        Its derivative, Re tr(A^-1 dA), takes the inverse.
        """
        logdet: jax.Array = _compiled_logdet(self)
        return logdet

    def inverse(self) -> jax.Array:
        """The inverse of A, both triangles: 2 n^3 / 3 flops, times 4 for complex dtypes.

        In storage of its own, its rows sharded over the mesh; with A's shape, and zero beyond its
        true order. Its residual is small for every A that has a factor. NaN throughout if `info` is
        not 0. Its derivative, -A^-1 S A^-1 with S = (dA + dA^H) / 2, takes 4 n^3 flops.
        """
        layout = self.layout
        with _compat.foreign_context_left(layout.mesh, _compat.is_traced(self.storage)):
            x: jax.Array = _compiled_inverse(self)
        return x


class FactorOptions(NamedTuple):
    """What a compiled factorisation depends on besides shapes and dtypes."""

    order: int
    tile: int
    in_place: bool
    keeps_inverses: bool


def factor_options(
    a: jax.Array, layout: Layout, order: int, tile: int | None, in_place: bool
) -> FactorOptions:
    """With the library's tile if none is given."""
    on_gpus = _is_on_gpus(layout)
    padding = -a.shape[0] % layout.ranks
    sizes = _library.Sizes(
        "cuda" if on_gpus else "cpu",
        np.dtype(a.dtype),
        a.shape[0] + padding,
        order,
        layout.ranks,
        tile or 0,
    )
    # Padded storage is ours: it need not be copied once more.
    return FactorOptions(order, _library.factor_tile(sizes), in_place or padding > 0, on_gpus)


def _is_on_gpus(layout: Layout) -> bool:
    """Whether the mesh's devices are GPUs, or, where it does not tell, JAX's default ones."""
    if isinstance(layout.mesh, Mesh):
        return bool(layout.mesh.devices.flat[0].platform != "cpu")
    return bool(jax.default_backend() != "cpu")


def _factor_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    a: jax.Array,
    *,
    team: Team,
    options: FactorOptions,
) -> tuple[jax.Array, ...]:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(a.dtype)
    sizes = _library.Sizes(platform, dtype, a.shape[1], options.order, team.ranks, options.tile)
    workspace = _library.cho_factor_workspace(sizes, options.in_place)
    inverses = (a.shape[0], options.tile) if options.keeps_inverses else (a.shape[0], 0)
    results = jax.ffi.ffi_call(
        "jaxmg_cho_factor",
        (
            jax.ShapeDtypeStruct(a.shape, dtype),
            jax.ShapeDtypeStruct(inverses, dtype),
            jax.ShapeDtypeStruct((1,), np.finfo(dtype).dtype),
            jax.ShapeDtypeStruct((1,), np.int32),
            jax.ShapeDtypeStruct((workspace,), np.uint8),
        ),
        input_output_aliases={2: 0} if options.in_place else {},
    )(
        rank,
        group,
        a,
        **team.attributes(),
        order=np.int64(options.order),
        tile=np.int64(options.tile),
        in_place=np.int64(options.in_place),
    )
    return tuple(results[:4])


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _factor_stored(a: jax.Array, layout: Layout, options: FactorOptions) -> tuple[jax.Array, ...]:
    """The call on a global array whose rows the ranks divide."""

    @in_sequence
    def local(rows: jax.Array) -> tuple[jax.Array, ...]:
        call = functools.partial(_factor_on, options=options)
        factored: tuple[jax.Array, ...] = call_in_seat(call, layout.axes, layout.group_axes, rows)
        return factored

    factor = _compat.shard_map(
        local, layout.mesh, (layout.rows,), (layout.rows, layout.rows, P(), P())
    )
    factored: tuple[jax.Array, ...] = factor(_compat.reshard(a, layout.mesh, layout.rows))
    return factored


@_factor_stored.defjvp
def _factor_jvp(
    layout: Layout, options: FactorOptions, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, ...], tuple[Any, ...]]:
    """The tangent of a factor's storage is dA, not that of U: only `cho_solve`, `logdet` and
    `inverse` read it, and dA is what their derivatives are made of."""
    factored = _factor_stored(*primals, layout, options)
    da = leading_block(*tangents, options.order, layout)
    return factored, (da, *map(zero_from_primal, factored[1:]))


def factor(a: jax.Array, layout: Layout, options: FactorOptions) -> CholeskyFactor:
    """`cho_factor` of checked arguments."""
    real = np.finfo(a.dtype).dtype
    if a.size == 0:  # nothing to factor, and XLA refuses a shard_map over nothing
        none = jnp.zeros((0, 0), a.dtype), jnp.zeros((), real), jnp.zeros((), np.int32)
        return CholeskyFactor(a, *none, layout, options.order, options.tile, 0)
    stored = pad_storage(a, layout)
    storage, inverses, logdet, info = _factor_stored(stored, layout, options)
    return CholeskyFactor(
        storage, inverses, logdet[0], info[0], layout, options.order, options.tile, a.shape[0]
    )


def cho_factor(
    a: jax.Array,
    T_A: int | None = None,
    mesh: AnyMesh | None = None,
    in_specs: P | tuple[P, ...] | list[P] | None = None,
    *,
    matrix_specs: P | tuple[P, ...] | list[P] | None = None,
    n: int | None = None,
    donate: bool = False,
) -> CholeskyFactor:
    """Factors a Hermitian positive definite matrix that is spread over devices; keeps the factor.

    n^3 / 3 flops, times 4 for complex dtypes (LAPACK potrf). The factor stays spread over the
    devices, as large as A's own storage, and the inverses of its diagonal tiles beside it on GPUs.

    Derivatives, of any order, are those of the factor's methods; they use the same factor, and
    gradients with respect to `a` are Hermitian and spread as `a` is. ``vmap`` is one call after the
    other.

    Args:
      a: matrix of shape (n, n), float32, float64, complex64 or complex128; its upper triangle is
        read. As in `potrs`: rows sharded over the mesh, or replicated, on one device, a NumPy
        array.
      T_A: tile size; chosen by the library if left out.
      mesh, in_specs, matrix_specs: as in `potrs`.
      n: true order of `a`, if it is stored in a larger, padded matrix.
      donate: factor in the storage of `a`, which is deleted; if the devices divide it.

    Returns:
      A `CholeskyFactor`, with ``.solve(b)``, ``.logdet()``, ``.inverse()`` and ``.info``.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      jax.errors.JaxRuntimeError: as in `potrs`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> from jax.sharding import NamedSharding, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> a = jax.device_put(jnp.diag(jnp.array([1.0, 4.0] * 8)), NamedSharding(mesh, P("x", None)))
      >>> factor = jaxmg.cho_factor(a)
      >>> print(factor.solve(jnp.ones(16))[:4], factor.logdet().round(3), factor.info)
      [1.   0.25 1.   0.25] 11.09 0
    """
    refuse_local_blocks("cho_factor", "call it outside, on the array that the shard_map is given")
    matrix = global_matrix("cho_factor", a, T_A, mesh, in_specs, matrix_specs, n)
    a, layout = matrix.a, matrix.layout
    options = factor_options(a, layout, matrix.order, matrix.tile, donate)
    traced = _compat.is_traced(a)
    with _compat.foreign_context_left(layout.mesh, traced):
        in_place = donate and not traced and matrix.is_divided
        call = compiled(factor, in_place, layout=layout, options=options)
        kept: CholeskyFactor = call(a)
    return kept


class SolveOptions(NamedTuple):
    """How right-hand sides are spread while they are solved for."""

    spread: bool
    x_by_rows: bool


def _solve_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    storage: jax.Array,
    inverses: jax.Array,
    info: jax.Array,
    b: jax.Array,
    *,
    team: Team,
    factor: CholeskyFactor,
    spread: bool,
) -> jax.Array:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(storage.dtype)
    sizes = _library.Sizes(platform, dtype, storage.shape[1], factor.order, team.ranks, factor.tile)
    rhs = 1 if b.ndim == 1 else b.shape[1]
    workspace = _library.cho_solve_workspace(sizes, rhs, spread, inverses.size > 0)
    x, _ = jax.ffi.ffi_call(
        "jaxmg_cho_solve",
        (
            jax.ShapeDtypeStruct(b.shape, dtype),
            jax.ShapeDtypeStruct((workspace,), np.uint8),
        ),
    )(
        rank,
        group,
        storage,
        inverses,
        info,
        b,
        **team.attributes(),
        order=np.int64(factor.order),
        tile=np.int64(factor.tile),
        spread=np.int64(spread),
    )
    return x


def _substitute(factor: CholeskyFactor, b: jax.Array, spread: bool) -> jax.Array:
    """The call on global arrays; x is sharded as b is, by columns if it is spread."""
    layout = factor.layout

    def local(storage: jax.Array, inverses: jax.Array, info: jax.Array, b: jax.Array) -> jax.Array:
        call = functools.partial(_solve_on, factor=factor, spread=spread)
        operands = (storage, inverses, info, b)
        x: jax.Array = call_in_seat(call, layout.axes, layout.group_axes, *operands)
        return x

    spec = layout.columns if spread else P()
    solve = _compat.shard_map(local, layout.mesh, (layout.rows, layout.rows, P(), spec), spec)
    x: jax.Array = solve(
        _compat.reshard(factor.storage, layout.mesh, layout.rows),
        _compat.reshard(factor.inverses, layout.mesh, layout.rows),
        factor.info.reshape(1),
        _compat.reshard(b, layout.mesh, spec),
    )
    return x


def _substitute_any(factor: CholeskyFactor, b: jax.Array, spread: bool) -> jax.Array:
    """`_substitute`; ``vmap`` over b is more columns, spread where they are many."""

    def call(factor: CholeskyFactor, b: jax.Array) -> tuple[jax.Array, tuple[()]]:
        return _substitute(factor, b, spread), ()

    def wide_call(factor: CholeskyFactor, b: jax.Array) -> tuple[jax.Array, tuple[()]]:
        padded = _whole_columns(b, factor.layout) if _is_wide(b, factor.layout) else b
        x = _substitute_any(factor, padded, _is_wide(b, factor.layout))
        return _compat.reshard(x, factor.layout.mesh, P())[:, : b.shape[1]], ()

    solve = in_sequence(call) if spread else more_columns(call, wide_call)
    return solve(factor, b)[0]


def _is_wide(b: jax.Array, layout: Layout) -> bool:
    """Whether there are so many right-hand sides that each device should have its own."""
    return b.ndim == 2 and b.shape[1] >= 64 * layout.ranks


def _whole_columns(b: jax.Array, layout: Layout) -> jax.Array:
    """`b` with as many columns on each device."""
    return jnp.pad(b, ((0, 0), (0, -b.shape[1] % layout.ranks)))


@jax.custom_jvp
def _by_tangent(storage: jax.Array) -> jax.Array:
    """Something with the tangent of A, which is that of the factor's storage.

    Its value is zero: that of the storage is not A's, and what is there in the triangle that no
    routine reads may be NaN.
    """
    return jnp.where(np.False_, storage, 0)  # zeros_like has a wrong sharding under vmap


@_by_tangent.defjvp
def _by_tangent_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return _by_tangent(*primals), tangents[0]


def _solve_linear(factor: CholeskyFactor, b: jax.Array, spread: bool) -> jax.Array:
    """A^-1 b as JAX's own linear solve, which knows its derivatives.

    Of the matrix it only uses the tangent; what is computed with its value XLA drops.
    """
    layout = factor.layout
    matrix = _by_tangent(factor.storage)
    kept: CholeskyFactor = jax.tree.map(lax.stop_gradient, factor)

    def matrix_times(x: jax.Array) -> jax.Array:
        columns = x.reshape(x.shape[0], -1)
        columns = jnp.pad(columns, ((0, matrix.shape[0] - x.shape[0]), (0, 0)))
        y = hermitian_product(matrix, columns, layout, spread)
        return y[: x.shape[0]].reshape(x.shape)

    return _compat.linear_solve(
        matrix_times,
        b,
        lambda b: _substitute_any(kept, b, spread),
        # of A^T = conj(A)
        lambda b: _substitute_any(kept, b.conj(), spread).conj(),
    )


def solve(factor: CholeskyFactor, b: jax.Array, options: SolveOptions) -> jax.Array:
    """`cho_solve` of checked arguments."""
    if b.size == 0:
        return b
    layout = factor.layout
    if not options.spread:
        x = _solve_linear(factor, _compat.reshard(b, layout.mesh, P()), False)
        return split_rows(x, layout) if options.x_by_rows else x
    columns = b.shape[1]
    b = _compat.reshard(_whole_columns(b, layout), layout.mesh, layout.columns)
    x = _solve_linear(factor, b, True)
    if columns % layout.ranks:
        return _compat.reshard(x, layout.mesh, P())[:, :columns]
    return x


_compiled_solve = jax.jit(solve, static_argnames="options")


def _inverse_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    storage: jax.Array,
    info: jax.Array,
    *,
    team: Team,
    factor: CholeskyFactor,
) -> jax.Array:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(storage.dtype)
    sizes = _library.Sizes(platform, dtype, storage.shape[1], factor.order, team.ranks, factor.tile)
    x, _ = jax.ffi.ffi_call(
        "jaxmg_cho_inverse",
        (
            jax.ShapeDtypeStruct(storage.shape, dtype),
            jax.ShapeDtypeStruct((_library.cho_inverse_workspace(sizes),), np.uint8),
        ),
    )(
        rank,
        group,
        storage,
        info,
        **team.attributes(),
        order=np.int64(factor.order),
        tile=np.int64(factor.tile),
    )
    return x


@jax.custom_jvp
def _inverse_stored(factor: CholeskyFactor) -> jax.Array:
    """The inverse in storage that the ranks divide."""
    layout = factor.layout

    @in_sequence
    def local(storage: jax.Array, info: jax.Array) -> jax.Array:
        call = functools.partial(_inverse_on, factor=factor)
        x: jax.Array = call_in_seat(call, layout.axes, layout.group_axes, storage, info)
        return x

    invert = _compat.shard_map(local, layout.mesh, (layout.rows, P()), layout.rows)
    x: jax.Array = invert(factor.storage, factor.info.reshape(1))
    return x


@_inverse_stored.defjvp
def _inverse_jvp(
    primals: tuple[CholeskyFactor], tangents: tuple[CholeskyFactor]
) -> tuple[jax.Array, jax.Array]:
    x = _inverse_stored(*primals)
    return x, inverse_tangent(x, tangents[0].storage, primals[0].layout)


def _inverse(factor: CholeskyFactor) -> jax.Array:
    if factor.storage.size == 0:
        return factor.storage
    return unpadded(_inverse_stored(factor), factor.rows, factor.layout)


_compiled_inverse = jax.jit(_inverse)


@jax.custom_jvp
def _logdet(factor: CholeskyFactor) -> jax.Array:
    return factor.log_determinant


@_logdet.defjvp
def _logdet_jvp(
    primals: tuple[CholeskyFactor], tangents: tuple[CholeskyFactor]
) -> tuple[jax.Array, jax.Array]:
    x = _inverse_stored(*primals)
    return _logdet(*primals), trace_of_product(x, tangents[0].storage, primals[0].layout)


def logdet_of(factor: CholeskyFactor) -> jax.Array:
    """`CholeskyFactor.logdet`."""
    return _logdet(factor) if factor.storage.size > 0 else factor.log_determinant


_compiled_logdet = jax.jit(logdet_of)


def _is_by_columns(b: jax.Array, layout: Layout) -> bool:
    spec = known_sharding(b)[1]
    return spec is not None and len(spec) == 2 and spec[1] in (layout.rows[0], layout.axes)


def cho_solve(factor: CholeskyFactor, b: jax.Array) -> jax.Array:
    """Solves A x = b with a factor of A that was kept.

    2 n^2 flops a right-hand side, times 4 for complex dtypes (LAPACK potrs), shared by the devices.
    Few right-hand sides pass from device to device with the substitution. Many, 64 a device or
    more, are spread by columns, and the factor passes all devices.

    Its derivative, dx = A^-1 (db - S x) with S = (dA + dA^H) / 2, is one more solve with the factor
    that is there. ``vmap`` over `b` is more columns of one call.

    Args:
      factor: from `cho_factor`.
      b: shape (n,) or (n, k), of the factor's dtype; replicated, or sharded by rows or columns over
        the axes that the factor is spread over.

    Returns:
      x, of the shape of `b`; sharded by rows if `b` is, by columns if it has been spread over the
      devices and they divide k, else replicated. NaN throughout if ``factor.info`` is not 0.

    Raises:
      TypeError, ValueError: an argument is wrong; raised before any work on devices.
      jax.errors.JaxRuntimeError: as in `potrs`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxmg
      >>> mesh = jax.make_mesh((jax.device_count(),), ("x",))
      >>> factor = jaxmg.cho_factor(4 * jnp.eye(16), mesh=mesh)
      >>> print(jaxmg.cho_solve(factor, jnp.ones((16, 2)))[0])
      [0.25 0.25]
    """
    if not isinstance(factor, CholeskyFactor):
        raise TypeError(
            f"cho_solve: factor: expected a CholeskyFactor, got {describe(factor)}; pass "
            "cho_factor(a)"
        )
    b = as_array("cho_solve", "b", b)
    check_right_hand_side("cho_solve", factor.storage, b, {factor.order, factor.storage.shape[0]})
    layout = factor.layout
    spread = _is_wide(b, layout) or _is_by_columns(b, layout)
    options = SolveOptions(spread, not spread and is_by_rows(b, layout))
    b = place(b, layout.mesh, P())
    with _compat.foreign_context_left(layout.mesh, _compat.is_traced(b)):
        x: jax.Array = _compiled_solve(factor, b, options=options)
    return x
