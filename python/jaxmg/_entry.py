"""What every routine does first with its matrix, a global array or a caller's local block."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._arguments import as_array, check_order, check_square, check_tile, describe
from ._layout import AnyMesh, Layout, is_by_rows, place, platforms_of, resolve
from ._pacing import paced

#: What status is when A is not positive definite, as in the published library.
NOT_POSITIVE_DEFINITE = 7


def status_of(info: jax.Array) -> jax.Array:
    """The published library's status of LAPACK's `info`: 0, or 7 if it is not 0."""
    return jnp.where(info != 0, NOT_POSITIVE_DEFINITE, 0).astype(jnp.int32)


class Scalars(NamedTuple):
    """What a call tells beside its arrays, made by its own program: eager indexing is slow."""

    logdet: jax.Array | None  # if the routine has one
    status: jax.Array
    info: jax.Array

    @classmethod
    def of(cls, logdet: jax.Array | None, info: jax.Array) -> Scalars:
        """From the foreign call's arrays of one entry."""
        return cls(None if logdet is None else logdet[0], status_of(info)[0], info[0])

    def after(self, *results: jax.Array, logdet: bool, status: bool, info: bool) -> Any:
        """``results[, logdet][, status][, info]``, by itself if it is the only one."""
        wanted = zip(self, (logdet, status, info), strict=True)
        everything = (*results, *(scalar for scalar, is_wanted in wanted if is_wanted))
        return everything[0] if len(everything) == 1 else everything


def no_work(a: jax.Array) -> jax.Array:
    """What stands for A's storage in an outcome where nobody asked for it."""
    return jnp.zeros((0, 0), a.dtype)


@functools.lru_cache(maxsize=256)
def compiled(f: Callable[..., Any], donate: bool, **known: Any) -> Any:
    """Our jit of ``f(a, ..., **known)``, so that eager calls compile once and may donate `a`."""
    return paced(jax.jit(functools.partial(f, **known), donate_argnums=(0,) if donate else ()))


class Matrix(NamedTuple):
    """A global matrix that has been checked and placed on its mesh."""

    a: jax.Array
    order: int
    tile: int | None
    layout: Layout

    @property
    def is_divided(self) -> bool:
        """Whether the ranks divide the rows of `a`; else it is padded before it is sharded."""
        return self.a.shape[0] % self.layout.ranks == 0

    def is_given_away(self, donate: bool) -> bool:
        """Whether an eager call deletes `a`: where its storage is that of the ranks already. XLA
        could not work in any other, and would say so."""
        by_rows = self.layout.ranks == 1 or is_by_rows(self.a, self.layout)
        return donate and not _compat.is_traced(self.a) and self.is_divided and by_rows


def global_matrix(
    routine: str, a: Any, T_A: Any, mesh: Any, in_specs: Any, matrix_specs: Any, n: Any
) -> Matrix:
    """Checks the arguments that all global forms have."""
    a = as_array(routine, "a", a)
    check_square(routine, a)
    order = check_order(routine, a.shape[0], n)
    tile = check_tile(routine, T_A)
    layout = resolve(routine, a, mesh, in_specs, matrix_specs)
    spec = layout.rows if a.shape[0] % layout.ranks == 0 else P()
    return Matrix(place(a, layout.mesh, spec), order, tile, layout)


def find_engine(routine: str, engine: str | None, mesh: AnyMesh | None) -> str:
    """`engine`, or what JAXMG_ENGINE says, or "jaxmg", if the mesh's devices can run it.

    The mesh may be an abstract one, or unknown: then the call itself tells if they cannot.
    """
    variable = os.environ.get("JAXMG_ENGINE") or None
    name = engine if engine is not None else variable or "jaxmg"
    said = "engine" if engine is not None or variable is None else "JAXMG_ENGINE"
    if not isinstance(name, str) or name not in _library.ENGINES:
        raise ValueError(
            f"{routine}: {said}: expected {' or '.join(map(repr, _library.ENGINES))}, got "
            f"{name!r}; leave it out for jaxmg's own"
        )
    if name == "jaxmg":
        return name
    if isinstance(mesh, Mesh) and "cpu" in platforms_of(mesh):
        raise ValueError(
            f"{routine}: {said}: expected 'jaxmg' on CPU devices, got {name!r}, which runs on "
            "NVIDIA GPUs only; leave it out"
        )
    if (problem := _library.cusolvermg_problem()) is not None:
        raise RuntimeError(f"{routine}: {said}: {name!r} cannot be used: {problem}")
    return name


def refuse_local_blocks(routine: str, instead: str) -> None:
    """Raises ValueError inside a ``shard_map``."""
    if _compat.manual_axes():
        raise ValueError(
            f"{routine}: expected global arrays, got local blocks: it was called inside a "
            f"shard_map; {instead}"
        )


class Block(NamedTuple):
    """The rows of a matrix that a device holds, inside a caller's ``shard_map``."""

    a: jax.Array
    order: int
    tile: int | None
    axes: tuple[str, ...]
    group_axes: tuple[str, ...]


def local_block(
    routine: str, a: Any, T_A: Any, axis_name: str | tuple[str, ...] | None, n: Any
) -> Block:
    """Checks the arguments that all forms on local blocks have."""
    manual = _compat.manual_axes()
    axes = _manual_axes_of(routine, axis_name, manual)
    a = as_array(routine, "a", a)
    ranks = lax.axis_size(axes)
    if a.ndim != 2 or a.shape[0] * ranks != a.shape[1]:
        raise ValueError(
            f"{routine}: a: expected this device's rows of a square matrix, N / {ranks} x N, a "
            f"rank-2 matrix A, got {describe(a)}; use in_specs=P({axes[0]!r}, None) in the "
            "shard_map"
        )
    order = check_order(routine, a.shape[1], n)
    group_axes = tuple(axis for axis in manual if axis not in axes)
    return Block(a, order, check_tile(routine, T_A), axes, group_axes)


class Positional(NamedTuple):
    """What two positional arguments of a ``*_shardmap_ctx`` say; see `told_apart`."""

    flag: bool
    mesh: AnyMesh | None
    matrix_specs: Any


def told_apart(third: Any, fourth: Any, default: bool, mesh: Any, matrix_specs: Any) -> Positional:
    """0.0.x has a flag there, such as `return_eigenvectors`, and `pad`; 1.x `mesh`, which may be
    None, and `matrix_specs`, and its flag, whose value is then `default`, is a keyword."""
    if third is not None and not isinstance(third, AnyMesh):
        return Positional(bool(third), mesh, matrix_specs)
    return Positional(
        default,
        mesh if third is None else third,
        matrix_specs if fourth is None or isinstance(fourth, bool) else fourth,
    )


def refuse_axis_name(routine: str, axis_name: Any) -> None:
    """Raises ValueError if there is one, outside a ``shard_map``."""
    if axis_name is not None:
        raise ValueError(
            f"{routine}: axis_name: expected a call inside a shard_map, got "
            f"{axis_name!r} outside; pass mesh= and in_specs= for global arrays"
        )


def _manual_axes_of(
    routine: str, axis_name: str | tuple[str, ...] | None, manual: tuple[str, ...]
) -> tuple[str, ...]:
    if _compat.other_axes():
        raise ValueError(
            f"{routine}: expected a shard_map over all axes of the mesh, got one that leaves "
            f"{_compat.other_axes()} to XLA, which cannot partition the call; leave axis_names out "
            "of the shard_map"
        )
    if axis_name is None and len(manual) == 1:
        return manual
    axes: tuple[Any, ...] = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    if not axes or not all(axis in manual for axis in axes):
        raise ValueError(
            f"{routine}: axis_name: expected the axis that A's rows are sharded over, one of "
            f"{manual}, got {axis_name!r}; pass axis_name={manual[0]!r}"
        )
    return axes
