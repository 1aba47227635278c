"""What is done with a Cholesky factor that is kept: the foreign calls, and their derivatives."""

from __future__ import annotations

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
from ._cyclic import rows_stored
from ._derivatives import in_sequence, inverse_tangent, more_columns
from ._layout import Layout, Team, call_handler, call_in_seat, pad_storage, split_rows, unpadded
from ._products import hermitian_product, leading_block, trace_of_product


class Factored(NamedTuple):
    """What a factorisation leaves on the devices; see `CholeskyFactor`."""

    storage: jax.Array
    inverses: jax.Array
    log_determinant: jax.Array
    info: jax.Array


class FactorForm(NamedTuple):
    """What is known of a factor when a call with it is traced."""

    layout: Layout
    order: int
    tile: int


class FactorOptions(NamedTuple):
    """What a compiled factorisation depends on besides shapes and dtypes."""

    order: int
    tile: int
    in_place: bool
    keeps_inverses: bool

    def form(self, layout: Layout) -> FactorForm:
        """Of the factor that it makes."""
        return FactorForm(layout, self.order, self.tile)


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
    results = call_handler(
        "jaxmg_cho_factor",
        team,
        (rank, group, a),
        (
            (a.shape, dtype),
            ((a.shape[0], options.tile if options.keeps_inverses else 0), dtype),
            ((1,), np.finfo(dtype).dtype),
            ((1,), np.int32),
            ((workspace,), np.uint8),
        ),
        {2: 0} if options.in_place else None,
        order=options.order,
        tile=options.tile,
        in_place=options.in_place,
    )
    return results[:4]


def _cleared(
    storage: jax.Array,
    inverses: jax.Array,
    *scalars: jax.Array,
    layout: Layout,
    options: FactorOptions,
) -> tuple[jax.Array, ...]:
    """What a device was given back, with zeros where the call wrote nothing: that is memory as it
    was found, which may hold NaN and differs from call to call.

    A matrix that is factored in place leaves its own entries there.
    """
    order, tile = options.order, options.tile
    local = lax.iota(np.int32, storage.shape[0])
    row = rows_stored(lax.axis_index(layout.axes), local, layout.ranks, len(local), tile, jnp)[
        :, None
    ]

    def kept_where(is_written: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.where(is_written, x, jnp.zeros((), x.dtype))

    if not options.in_place:
        column = lax.broadcasted_iota(np.int32, storage.shape, 1)
        storage = kept_where((row <= column) & (column < order), storage)
    if options.keeps_inverses:
        # A row has a column of its tile's inverse, from the tile's first row on; it is lower
        # triangular, and ends with the tile.
        diagonal = (local % tile)[:, None]
        end = diagonal + jnp.minimum(order - row, (len(local) - local)[:, None])
        entry = lax.broadcasted_iota(np.int32, inverses.shape, 1)
        inverses = kept_where((diagonal <= entry) & (entry < end), inverses)
    return storage, inverses, *scalars


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _factor_stored(a: jax.Array, layout: Layout, options: FactorOptions) -> tuple[jax.Array, ...]:
    """The call on a global array whose rows the ranks divide."""

    @in_sequence
    def local(rows: jax.Array) -> tuple[jax.Array, ...]:
        call = functools.partial(_factor_on, options=options)
        results = call_in_seat(call, layout.axes, layout.group_axes, rows)
        return _cleared(*results, layout=layout, options=options)

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


def factor(a: jax.Array, layout: Layout, options: FactorOptions) -> Factored:
    """`cho_factor` of checked arguments."""
    if a.size == 0:  # nothing to factor, and XLA refuses a shard_map over nothing
        real = np.finfo(a.dtype).dtype
        none = jnp.zeros((0, 0), a.dtype)
        return Factored(a, none, jnp.zeros((), real), jnp.zeros((), np.int32))
    storage, inverses, logdet, info = _factor_stored(pad_storage(a, layout), layout, options)
    return Factored(storage, inverses, logdet[0], info[0])


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
    form: FactorForm,
    spread: bool,
) -> jax.Array:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(storage.dtype)
    sizes = _library.Sizes(platform, dtype, storage.shape[1], form.order, team.ranks, form.tile)
    rhs = 1 if b.ndim == 1 else b.shape[1]
    workspace = _library.cho_solve_workspace(sizes, rhs, spread, inverses.size > 0)
    x, _ = call_handler(
        "jaxmg_cho_solve",
        team,
        (rank, group, storage, inverses, info, b),
        ((b.shape, dtype), ((workspace,), np.uint8)),
        order=form.order,
        tile=form.tile,
        spread=spread,
    )
    return x


def _substitute(factored: Factored, b: jax.Array, form: FactorForm, spread: bool) -> jax.Array:
    """The call on global arrays; x is sharded as b is, by columns if it is spread."""
    layout = form.layout

    def local(storage: jax.Array, inverses: jax.Array, info: jax.Array, b: jax.Array) -> jax.Array:
        call = functools.partial(_solve_on, form=form, spread=spread)
        operands = (storage, inverses, info, b)
        x: jax.Array = call_in_seat(call, layout.axes, layout.group_axes, *operands)
        return x

    spec = layout.columns if spread else P()
    solve = _compat.shard_map(local, layout.mesh, (layout.rows, layout.rows, P(), spec), spec)
    x: jax.Array = solve(
        _compat.reshard(factored.storage, layout.mesh, layout.rows),
        _compat.reshard(factored.inverses, layout.mesh, layout.rows),
        _compat.reshard(factored.info.reshape(1), layout.mesh, P()),
        _compat.reshard(b, layout.mesh, spec),
    )
    return x


def _substitute_any(factored: Factored, b: jax.Array, form: FactorForm, spread: bool) -> jax.Array:
    """`_substitute`; ``vmap`` over b is more columns, spread where they are many."""
    layout = form.layout

    def call(factored: Factored, b: jax.Array) -> tuple[jax.Array, tuple[()]]:
        return _substitute(factored, b, form, spread), ()

    def wide_call(factored: Factored, b: jax.Array) -> tuple[jax.Array, tuple[()]]:
        padded = _whole_columns(b, layout) if is_wide(b, layout) else b
        x = _substitute_any(factored, padded, form, is_wide(b, layout))
        return _compat.reshard(x, layout.mesh, P())[:, : b.shape[1]], ()

    solve = in_sequence(call) if spread else more_columns(call, wide_call)
    return solve(factored, b)[0]


def is_wide(b: jax.Array, layout: Layout) -> bool:
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


def _solve_linear(factored: Factored, b: jax.Array, form: FactorForm, spread: bool) -> jax.Array:
    """A^-1 b as JAX's own linear solve, which knows its derivatives.

    Of the matrix it only uses the tangent; what is computed with its value XLA drops.
    """
    matrix = _by_tangent(factored.storage)
    kept: Factored = jax.tree.map(lax.stop_gradient, factored)

    def matrix_times(x: jax.Array) -> jax.Array:
        columns = x.reshape(x.shape[0], -1)
        columns = jnp.pad(columns, ((0, matrix.shape[0] - x.shape[0]), (0, 0)))
        y = hermitian_product(matrix, columns, form.layout, spread)
        return y[: x.shape[0]].reshape(x.shape)

    return _compat.linear_solve(
        matrix_times,
        b,
        lambda b: _substitute_any(kept, b, form, spread),
        # of A^T = conj(A)
        lambda b: _substitute_any(kept, b.conj(), form, spread).conj(),
    )


def solve(factored: Factored, b: jax.Array, form: FactorForm, options: SolveOptions) -> jax.Array:
    """`cho_solve` of checked arguments."""
    if b.size == 0:
        return b
    layout = form.layout
    if not options.spread:
        x = _solve_linear(factored, _compat.reshard(b, layout.mesh, P()), form, False)
        return split_rows(x, layout) if options.x_by_rows else x
    columns = b.shape[1]
    b = _compat.reshard(_whole_columns(b, layout), layout.mesh, layout.columns)
    x = _solve_linear(factored, b, form, True)
    if columns % layout.ranks:
        return _compat.reshard(x, layout.mesh, P())[:, :columns]
    return x


def _inverse_on(
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    storage: jax.Array,
    info: jax.Array,
    *,
    team: Team,
    form: FactorForm,
) -> jax.Array:
    """The foreign call, with the workspace of one platform."""
    dtype = np.dtype(storage.dtype)
    sizes = _library.Sizes(platform, dtype, storage.shape[1], form.order, team.ranks, form.tile)
    x, _ = call_handler(
        "jaxmg_cho_inverse",
        team,
        (rank, group, storage, info),
        ((storage.shape, dtype), ((_library.cho_inverse_workspace(sizes),), np.uint8)),
        order=form.order,
        tile=form.tile,
    )
    return x


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _inverse_stored(factored: Factored, form: FactorForm) -> jax.Array:
    """The inverse in storage that the ranks divide."""
    layout = form.layout

    @in_sequence
    def local(storage: jax.Array, info: jax.Array) -> jax.Array:
        call = functools.partial(_inverse_on, form=form)
        x: jax.Array = call_in_seat(call, layout.axes, layout.group_axes, storage, info)
        return x

    invert = _compat.shard_map(local, layout.mesh, (layout.rows, P()), layout.rows)
    x: jax.Array = invert(
        _compat.reshard(factored.storage, layout.mesh, layout.rows),
        _compat.reshard(factored.info.reshape(1), layout.mesh, P()),
    )
    return x


@_inverse_stored.defjvp
def _inverse_jvp(
    form: FactorForm, primals: tuple[Factored], tangents: tuple[Factored]
) -> tuple[jax.Array, jax.Array]:
    x = _inverse_stored(*primals, form)
    return x, inverse_tangent(x, tangents[0].storage, form.layout)


def inverse(factored: Factored, form: FactorForm, rows: int) -> jax.Array:
    """`CholeskyFactor.inverse`, of a matrix with so many rows."""
    if factored.storage.size == 0:
        return factored.storage
    return unpadded(_inverse_stored(factored, form), rows, form.layout)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _logdet(factored: Factored, form: FactorForm) -> jax.Array:
    del form
    return factored.log_determinant


@_logdet.defjvp
def _logdet_jvp(
    form: FactorForm, primals: tuple[Factored], tangents: tuple[Factored]
) -> tuple[jax.Array, jax.Array]:
    x = _inverse_stored(*primals, form)
    return _logdet(*primals, form), trace_of_product(x, tangents[0].storage, form.layout)


def logdet(factored: Factored, form: FactorForm) -> jax.Array:
    """`CholeskyFactor.logdet`."""
    return _logdet(factored, form) if factored.storage.size > 0 else factored.log_determinant
