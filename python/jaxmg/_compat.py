"""What differs between JAX versions, and the only private imports of JAX."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, get_abstract_mesh
from jax.sharding import PartitionSpec as P

try:  # jax >= 0.7
    from jax.sharding import reshard as _reshard
except ImportError:
    from jax.experimental.shard import (  # type: ignore[import-not-found,no-redef]
        reshard as _reshard,
    )

try:  # jax >= 0.7
    from jax.sharding import use_abstract_mesh as _use_abstract_mesh
except ImportError:
    from jax._src.mesh import use_abstract_mesh as _use_abstract_mesh

_sharding: Any = jax.sharding
_set_mesh: Any = jax.set_mesh if hasattr(jax, "set_mesh") else _sharding.use_mesh


def shard_map(
    f: Callable[..., Any], mesh: Mesh | AbstractMesh, in_specs: Any, out_specs: Any
) -> Any:
    """``jax.shard_map`` over all axes of `mesh`, without the check of varying axes.

    The check cannot look into a foreign call.
    """
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def reshard(x: jax.Array, mesh: Mesh | AbstractMesh, spec: P) -> jax.Array:
    """`x` in another sharding; on Auto axes XLA does it, where ``shard_map`` asks for it."""
    if jax.__version_info__ < (0, 7) and jax.typeof(x).sharding.mesh.empty:
        # JAX 0.6 could not transpose a reshard from no mesh, and takes the types of a value and its
        # tangent to differ where one of them comes from no mesh.
        on_mesh: jax.Array = shard_map(lambda x: x, mesh, (spec,), spec)(x)
        return on_mesh
    if any(kind == AxisType.Explicit for kind in mesh.axis_types):
        return _reshard(x, NamedSharding(mesh, spec))
    return x


def manual_axes() -> tuple[str, ...]:
    """Axes of the ``shard_map`` that is being traced; empty outside."""
    return tuple(get_abstract_mesh().manual_axes)


def other_axes() -> tuple[str, ...]:
    """Axes, of more than one device, that the ``shard_map`` being traced leaves to XLA."""
    mesh = get_abstract_mesh()
    return tuple(x for x in mesh.axis_names if x not in mesh.manual_axes and mesh.shape[x] > 1)


def context_mesh() -> Mesh | AbstractMesh | None:
    """The mesh of ``jax.set_mesh``, ``use_mesh`` or ``with mesh:``."""
    mesh = get_abstract_mesh()
    if not mesh.empty:
        return mesh
    from jax._src.mesh import thread_resources

    legacy = thread_resources.env.physical_mesh
    return None if legacy.empty else legacy


def foreign_context_left(
    mesh: Mesh | AbstractMesh, traced: bool
) -> contextlib.AbstractContextManager[Any]:
    """Where the context's mesh is another one: `mesh` in its place, as ``shard_map`` demands."""
    context = get_abstract_mesh()
    abstract = mesh.abstract_mesh if isinstance(mesh, Mesh) else mesh
    if context.empty or context == abstract:
        return contextlib.nullcontext()
    if isinstance(mesh, Mesh) and not traced:
        return _set_mesh(mesh)
    return _use_abstract_mesh(abstract)


def by_platform(call: Callable[..., Any], with_cuda: bool, *operands: Any) -> Any:
    """``call(platform, *operands)`` for the platform that the program is compiled for."""
    if not with_cuda:
        return call("cpu", *operands)
    return jax.lax.platform_dependent(
        *operands,
        cpu=functools.partial(call, "cpu"),
        cuda=functools.partial(call, "cuda"),
    )


def is_traced(x: Any) -> bool:
    """Whether `x` stands for a value that is not known yet."""
    return isinstance(x, jax.core.Tracer)


def linear(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``f(x)`` of a linear `f` with loops in it, such that JAX can transpose it.

    JAX 0.6 can only where the loop is one that ``jvp`` made.
    """
    if jax.__version_info__ >= (0, 7):
        return f(x)
    y: jax.Array = jax.jvp(f, (jax.numpy.zeros_like(x),), (x,))[1]
    return y


def linear_solve(
    matvec: Callable[[jax.Array], jax.Array],
    b: jax.Array,
    solve: Callable[[jax.Array], jax.Array],
    transpose_solve: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """``lax.custom_linear_solve``; `solve` and `transpose_solve` know the matrix."""
    x: jax.Array = jax.lax.custom_linear_solve(
        matvec, b, lambda _, b: solve(b), lambda _, b: transpose_solve(b)
    )
    if jax.__version_info__ >= (0, 7):
        return x
    # JAX 0.6 cannot transpose it for a solution that nobody uses, whose cotangent is a symbolic
    # zero; a barrier's is an array.
    same: jax.Array = jax.lax.optimization_barrier(x)
    return same
