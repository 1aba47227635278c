"""Cholesky factors that are kept: one factorisation, any number of solves."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from . import _cho_calls, _compat
from ._arguments import as_array, check_right_hand_side, describe
from ._cho_calls import Factored, FactorForm, SolveOptions, factor_options, is_wide
from ._entry import compiled, global_matrix, refuse_local_blocks
from ._layout import AnyMesh, Layout, is_by_rows, known_sharding, place
from ._pacing import paced


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["storage", "inverses", "log_determinant", "info"],
    meta_fields=["layout", "order", "tile", "rows"],
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CholeskyFactor:
    """A factorisation A = U^H U of a Hermitian positive definite A; made by `cho_factor`.

    A pytree, of the same structure whether it was made eagerly or under ``jit``: it passes through
    ``jit``, ``scan``, ``cond`` and ``device_put``, and can be pickled. Its methods bring its arrays
    to the mesh's devices where they are elsewhere. It can be differentiated with respect to the
    matrix that it was made of, by way of all that it offers: see `cho_factor`.

    Attributes:
      info: int32 scalar; 0, or the order of the first leading minor that is not positive definite
        (LAPACK). If it is not 0 there is no factor: `logdet` and what is solved with it are NaN.
      order: n.
      rows: of the matrix that was factored; n, or more if it was padded.
      storage, inverses, log_determinant, layout, tile: the factor as the library's own routines
        want it: its columns in their cyclic layout, the inverses of its diagonal tiles, and how
        they are spread, over an abstract mesh. The tangent of `storage` is that of A, the others
        have none.
    """

    storage: jax.Array
    inverses: jax.Array
    log_determinant: jax.Array
    info: jax.Array
    layout: Layout
    order: int
    tile: int
    rows: int
    #: The mesh that was given, where this was made under ``jit`` and `storage` does not tell its
    #: devices. No part of the pytree: a structure is equal for all devices.
    _given_mesh: Mesh | None = dataclasses.field(default=None, init=False)

    def __repr__(self) -> str:
        dtype = getattr(self.storage, "dtype", None)
        return (
            f"CholeskyFactor(order={self.order}, dtype={dtype}, tile={self.tile}, "
            f"mesh={self.layout.mesh})"
        )

    def solve(self, b: jax.Array) -> jax.Array:
        """x with A x = b: `cho_solve`, which see.

        Args:
          b: shape (n,) or (n, k), of the factor's dtype.

        Raises:
          TypeError, ValueError, jax.errors.JaxRuntimeError: as in `cho_solve`.
        """
        return cho_solve(self, b)

    def logdet(self) -> jax.Array:
        """log det A, a scalar of A's real dtype. Costs nothing: it is known.

        Its derivative, Re tr(A^-1 dA), takes the inverse.

        Raises:
          ValueError: it is called inside a ``shard_map``, or on several factors at once.
        """
        routine = "CholeskyFactor.logdet"
        _check(routine, self)
        factored, form = _on_devices(routine, self)
        with _context(form, factored.storage):
            logdet: jax.Array = _compiled_logdet(factored, form=form)
        return logdet

    def inverse(self) -> jax.Array:
        """The inverse of A, both triangles: 2 n^3 / 3 flops, times 4 for complex dtypes.

        In storage of its own, its rows sharded over the mesh; with A's shape, and zero beyond its
        true order. Its residual is small for every A that has a factor. NaN throughout if `info` is
        not 0. Its derivative, -A^-1 S A^-1 with S = (dA + dA^H) / 2, takes 4 n^3 flops.

        Raises:
          ValueError: it is called inside a ``shard_map``, or on several factors at once.
          jax.errors.JaxRuntimeError: as in `potrs`.
        """
        routine = "CholeskyFactor.inverse"
        _check(routine, self)
        factored, form = _on_devices(routine, self)
        with _context(form, factored.storage):
            x: jax.Array = _compiled_inverse(factored, form=form, rows=self.rows)
        return x


_compiled_solve = paced(jax.jit(_cho_calls.solve, static_argnames=("form", "options")))
_compiled_logdet = paced(jax.jit(_cho_calls.logdet, static_argnames="form"))
_compiled_inverse = paced(jax.jit(_cho_calls.inverse, static_argnames=("form", "rows")))


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
      donate: factor in the storage of `a`, which an eager call deletes, where its rows are sharded
        over the mesh and the devices divide them.

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
        given_away = matrix.is_given_away(donate)
        call = compiled(_cho_calls.factor, given_away, layout=layout, options=options)
        factored: Factored = call(a)
    abstract = layout._replace(mesh=_abstract(layout.mesh, factored.storage))
    kept = CholeskyFactor(*factored, abstract, options.order, options.tile, a.shape[0])
    if traced and isinstance(layout.mesh, Mesh):
        object.__setattr__(kept, "_given_mesh", layout.mesh)
    return kept


def _abstract(mesh: AnyMesh, storage: jax.Array) -> AbstractMesh:
    """`mesh` as JAX knows it from `storage`: that also says which kind of devices it has."""
    known = known_sharding(storage)[0]
    if known is not None and _is_alike(known, mesh):
        mesh = known
    return mesh.abstract_mesh


def _is_alike(mesh: AnyMesh, other: AnyMesh) -> bool:
    """Whether they have the same axes."""
    return mesh.shape_tuple == other.shape_tuple and mesh.axis_types == other.axis_types


def _check(routine: str, factor: CholeskyFactor) -> None:
    """Raises ValueError unless it is one factor, and not a device's part of it."""
    refuse_local_blocks(routine, "call it outside, on the factor that the shard_map is given")
    if factor.storage.ndim != 2:
        raise ValueError(
            f"{routine}: factor: expected that of one matrix, with storage of rank 2, got "
            f"{describe(factor.storage)}; what jax.vmap(cho_factor) returns is used under "
            "jax.vmap too, jax.vmap(lambda factor: ...)(factor)"
        )


def _on_devices(
    routine: str, factor: CholeskyFactor, *others: jax.Array
) -> tuple[Factored, FactorForm]:
    """The factor's arrays, brought to the devices of its mesh where they are elsewhere."""
    arrays = (factor.storage, factor.inverses, factor.log_determinant, factor.info)
    storage, *rest = (x if isinstance(x, jax.Array) else jnp.asarray(x) for x in arrays)
    layout = factor.layout._replace(mesh=_mesh_of(routine, factor, (storage, *others)))
    specs = (layout.rows, layout.rows, P(), P())
    placed = (place(x, layout.mesh, spec) for x, spec in zip((storage, *rest), specs, strict=True))
    return Factored(*placed), FactorForm(layout, factor.order, factor.tile)


def _mesh_of(routine: str, factor: CholeskyFactor, arrays: tuple[jax.Array, ...]) -> AnyMesh:
    """The factor's mesh, with its devices where they are known: those of the first of `arrays` that
    is on such a mesh, else all devices, if they are as many."""
    mesh, storage = factor.layout.mesh, arrays[0]
    if _compat.is_traced(storage):
        return factor._given_mesh or mesh
    for x in arrays:
        known = known_sharding(x)[0]
        if isinstance(known, Mesh) and _is_alike(known, mesh):
            return known
    if mesh.size == jax.device_count():
        devices = np.array(jax.devices()).reshape(mesh.axis_sizes)
        return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)
    raise ValueError(
        f"{routine}: factor: expected its arrays on a mesh of {mesh.size} devices, "
        f"{dict(mesh.shape)}, got storage on {len(storage.sharding.device_set)}, which does not "
        "tell the mesh's devices; put it there, jax.device_put(factor, jax.tree.map(lambda x: "
        f"NamedSharding(mesh, {factor.layout.rows} if x.ndim else P()), factor))"
    )


def _context(form: FactorForm, *operands: jax.Array) -> contextlib.AbstractContextManager[Any]:
    """In which calls with `operands` run."""
    traced = any(map(_compat.is_traced, operands))
    return _compat.foreign_context_left(form.layout.mesh, traced)


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
    _check("cho_solve", factor)
    b = as_array("cho_solve", "b", b)
    check_right_hand_side("cho_solve", factor.storage, b, {factor.order, factor.storage.shape[0]})
    factored, form = _on_devices("cho_solve", factor, b)
    layout = form.layout
    spread = is_wide(b, layout) or _is_by_columns(b, layout)
    options = SolveOptions(spread, not spread and is_by_rows(b, layout))
    is_cut = spread and b.shape[1] % layout.ranks == 0
    b = place(b, layout.mesh, layout.columns if is_cut else P())
    with _context(form, factored.storage, b):
        x: jax.Array = _compiled_solve(factored, b, form=form, options=options)
    return x
