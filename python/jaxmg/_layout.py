"""Which mesh and axes a call runs over."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from . import _compat, _library
from ._arguments import describe

AnyMesh = Mesh | AbstractMesh


class Layout(NamedTuple):
    """Rows of A over `axes` of `mesh`; its further axes tell independent teams apart."""

    mesh: AnyMesh
    axes: tuple[str, ...]

    @property
    def ranks(self) -> int:
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    @property
    def group_axes(self) -> tuple[str, ...]:
        return tuple(axis for axis in self.mesh.axis_names if axis not in self.axes)

    @property
    def rows(self) -> P:
        """The spec of A: rows sharded, columns whole."""
        return P(self.axes if len(self.axes) > 1 else self.axes[0], None)

    @property
    def columns(self) -> P:
        """The spec of right-hand sides of which each device has its own."""
        return P(None, self.rows[0])


class Seat(NamedTuple):
    """Which rank of which team a device is, inside a ``shard_map``: operands of every call."""

    rank: jax.Array
    group: jax.Array


class Team(NamedTuple):
    """What is known of the ranks of a call when it is traced."""

    ranks: int
    #: See `_compat.devices_number`: what a library remembers of a call holds for these alone.
    devices: int

    def attributes(self) -> dict[str, np.int64]:
        """Of every foreign call."""
        return {name: np.int64(number) for name, number in self._asdict().items()}


def call_handler(
    target: str,
    team: Team,
    operands: tuple[jax.Array, ...],
    results: tuple[tuple[tuple[int, ...], Any], ...],
    aliases: dict[int, int] | None = None,
    **attributes: int | str,
) -> tuple[jax.Array, ...]:
    """Runs the handler `target` on this device.

    Args:
      operands: rank and group, then the routine's own.
      results: shape and dtype of each.
      aliases: the number of an operand, and that of the result which takes its memory.
      attributes: the routine's, beside the team's.
    """
    call = jax.ffi.ffi_call(
        target,
        tuple(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results),
        input_output_aliases=aliases or {},
    )
    typed = {name: x if isinstance(x, str) else np.int64(x) for name, x in attributes.items()}
    return tuple(call(*operands, **team.attributes(), **typed))


def take_team(axes: tuple[str, ...], group_axes: tuple[str, ...]) -> Team:
    """The team of the device that runs this."""
    return Team(lax.axis_size(axes), _compat.devices_number(axes, group_axes))


def take_seat(axes: tuple[str, ...], group_axes: tuple[str, ...]) -> Seat:
    """The seat of the device that runs this."""
    group = lax.axis_index(group_axes).astype(jnp.int32) if group_axes else jnp.int32(0)
    return Seat(lax.axis_index(axes).astype(jnp.int32), group)


def call_in_seat(
    call: Callable[..., Any], axes: tuple[str, ...], group_axes: tuple[str, ...], *operands: Any
) -> Any:
    """``call(platform, rank, group, *operands, team=)`` on the device that runs this, for its
    platform."""
    has_cuda = _library.cuda_library() is not None
    team = take_team(axes, group_axes)
    call = functools.partial(call, team=team)
    if team.ranks > 1 and _compat.spans_processes():
        call = functools.partial(_call_with_ticket, call, axes, team)
    return _compat.by_platform(call, has_cuda, *take_seat(axes, group_axes), *operands)


def _call_with_ticket(
    call: Callable[..., Any],
    axes: tuple[str, ...],
    team: Team,
    platform: str,
    rank: jax.Array,
    group: jax.Array,
    *operands: jax.Array,
) -> Any:
    """`call` on devices that may be of several processes.

    CPUs may come to the calls of a program in any order. So the ranks of a call agree on a ticket
    first. What they announce has an element of each operand with it, so that XLA cannot take two
    calls for one. They wait for each other unless others could be meant: those of another process's
    own devices, if the devices are not known and are not all there are.

    GPUs come in the program's order; which devices are meant goes with the group. Where that is not
    known, as many as a process has are taken for its own.
    """
    is_known = team.devices != 0
    if platform != "cpu":
        if not is_known and team.ranks <= jax.local_device_count():
            return call(platform, rank, group, *operands)
        return call(platform, rank, jnp.stack([group, jnp.int32(team.devices)]), *operands)
    shapes = ", ".join(f"{x.dtype.name}{list(x.shape)}" for x in operands)
    firsts = (lax.slice(x, (0,) * x.ndim, (1,) * x.ndim) for x in operands if x.size > 0)
    (ticket,) = call_handler(
        "jaxmg_announce",
        team,
        (rank, group, *firsts),
        (((2,), np.int32),),
        call=f"{_name_of(call)} of {shapes}",
        waits=is_known or _compat.has_all_devices(),
    )
    ticket = lax.psum(ticket, axes)
    return call("cpu_processes", rank, jnp.concatenate([group[None], ticket]), *operands)


def _name_of(call: Callable[..., Any]) -> str:
    """For messages, and the same in all processes only if the calls are."""
    if isinstance(call, functools.partial):
        return f"{_name_of(call.func)} {call.keywords}"
    return call.__name__.strip("_").removesuffix("_on")


def _single_spec(routine: str, in_specs: Any, matrix_specs: Any) -> P | None:
    """One spec for A from what the call families allow: a spec, a 1-tuple, the paper's pair."""
    if in_specs is not None and matrix_specs is not None:
        raise ValueError(
            f"{routine}: Specify only one of matrix_specs=... or in_specs=...; got both"
        )
    given = matrix_specs if in_specs is None else in_specs
    if given is None or isinstance(given, P):
        return given
    name = "in_specs" if matrix_specs is None else "matrix_specs"
    if not isinstance(given, (tuple, list)) or not all(isinstance(s, P) for s in given):
        raise TypeError(
            f"{routine}: {name} must be a PartitionSpec or a 1-element list/tuple containing one, "
            f'got {given!r}; pass {name}=P("x", None)'
        )
    if len(given) == 2 and routine.startswith("potrs"):
        return given[0]
    if len(given) != 1:
        raise ValueError(
            f"{routine}: {name} must be a single PartitionSpec or a 1-element list/tuple, got "
            f'{len(given)} specs; pass {name}=P("x", None)'
        )
    return given[0]


def _axes_of(spec: P) -> tuple[str, ...]:
    axes: list[str] = []
    for entry in spec:
        if entry is not None:
            axes.extend(entry if isinstance(entry, tuple) else (entry,))
    return tuple(axes)


def known_sharding(a: jax.Array) -> tuple[AnyMesh | None, P | None]:
    """Mesh and spec as far as `a` itself knows them: under ``jit`` a spec on Explicit axes only."""
    if not _compat.is_traced(a):
        sharding = a.sharding
        return (
            (sharding.mesh, sharding.spec) if isinstance(sharding, NamedSharding) else (None, None)
        )
    sharding = jax.typeof(a).sharding
    if sharding is None or sharding.mesh.empty:
        return None, None
    explicit = any(entry is not None for entry in sharding.spec)
    return sharding.mesh, sharding.spec if explicit else None


def resolve(
    routine: str, a: jax.Array, mesh: AnyMesh | None, in_specs: Any, matrix_specs: Any
) -> Layout:
    """Mesh and axes from, in this order: the arguments, `a` itself, the context mesh."""
    spec = _single_spec(routine, in_specs, matrix_specs)
    known_mesh, known_spec = known_sharding(a)
    if mesh is not None and not isinstance(mesh, (Mesh, AbstractMesh)):
        raise TypeError(
            f"{routine}: mesh: expected a jax.sharding.Mesh or AbstractMesh, got "
            f'{type(mesh).__name__}; pass mesh=jax.make_mesh((jax.device_count(),), ("x",))'
        )
    if mesh is None or mesh.empty:
        mesh = known_mesh or _compat.context_mesh()
    if mesh is None:
        raise ValueError(
            f"{routine}: mesh: expected a mesh from mesh=, from a's sharding or from jax.set_mesh, "
            f"got none for a = {describe(a)}; write "
            f'{routine}(a, ..., mesh=jax.make_mesh((jax.device_count(),), ("x",)), '
            'in_specs=P("x", None))'
        )
    _check_devices(routine, mesh)
    if not _compat.is_traced(a):
        _check_abstract(routine, a, mesh)
    if spec is None and known_mesh is not None and known_mesh.axis_names == mesh.axis_names:
        spec = known_spec if known_spec is not None and _axes_of(known_spec) else None
    axes = mesh.axis_names if spec is None else _axes_of(spec)
    if spec is not None:
        _check_spec(routine, spec, axes, mesh)
    return Layout(mesh, tuple(axes))


def _check_devices(routine: str, mesh: AnyMesh) -> None:
    """Raises RuntimeError if the mesh's devices are known and there is no engine for them."""
    if isinstance(mesh, Mesh):
        for platform in platforms_of(mesh):
            _library.check_platform(routine, platform)


def _check_abstract(routine: str, a: jax.Array, mesh: AnyMesh) -> None:
    """Raises ValueError if nothing tells which devices an abstract mesh means."""
    if isinstance(mesh, Mesh):
        return
    known = a.sharding.mesh if isinstance(a.sharding, NamedSharding) else None
    if known is None or known.size != mesh.size:
        raise ValueError(
            f"{routine}: mesh: expected the mesh of an array that is spread over its {mesh.size} "
            f"devices, or one with devices, got {mesh} for an array on {len(a.sharding.device_set)}"
            f"; pass mesh=jax.make_mesh({tuple(mesh.shape.values())}, {mesh.axis_names})"
        )


@functools.lru_cache(maxsize=64)
def platforms_of(mesh: Mesh) -> list[str]:
    """The platforms of its devices."""
    return sorted({device.platform for device in mesh.devices.flat})


def _check_spec(routine: str, spec: P, axes: tuple[str, ...], mesh: AnyMesh) -> None:
    hint = f'pass in_specs=P("{mesh.axis_names[0]}", None)'
    if not axes:
        raise ValueError(
            f"{routine}: in_specs: expected at least one matrix axis to be sharded, A must be "
            f"sharded along the columns with PartitionSpec P(None, str) or along the rows with "
            f"P(str, None), got {spec}; {hint}"
        )
    if len(spec) > 2:
        raise ValueError(
            f"{routine}: in_specs: expected a spec of rank 2 for A, got {spec}; {hint}"
        )
    if len(set(axes)) < len(axes):
        raise ValueError(f"{routine}: in_specs: expected each axis once, got {spec}; {hint}")
    unknown = [axis for axis in axes if axis not in mesh.axis_names]
    if unknown:
        raise ValueError(
            f"{routine}: in_specs: expected axes of the mesh {mesh.axis_names}, got {spec}; {hint}"
        )


def pad_storage(a: jax.Array, layout: Layout) -> jax.Array:
    """`a` in storage that the ranks divide; a matrix that they do not is never sharded yet."""
    padding = -a.shape[0] % layout.ranks
    return jnp.pad(a, ((0, padding), (0, padding))) if padding else a


def unpadded(x: jax.Array, n: int, layout: Layout) -> jax.Array:
    """The n x n matrix in padded storage that is ours. It cannot be sharded: it is replicated."""
    if x.shape[0] == n:
        return x
    return _compat.reshard(x, layout.mesh, P())[:n, :n]


def is_by_rows(b: jax.Array, layout: Layout) -> bool:
    """Whether `b` is known to be sharded by rows, over the axes that A's rows are sharded over."""
    spec = known_sharding(b)[1]
    return (
        spec is not None
        and len(spec) > 0
        and spec[0] in (layout.rows[0], layout.axes)
        and b.shape[0] % layout.ranks == 0
    )


def split_rows(x: jax.Array, layout: Layout) -> jax.Array:
    """A replicated `x` by rows: each device keeps its own."""

    def local(x: jax.Array) -> jax.Array:
        rows = x.shape[0] // layout.ranks
        return lax.dynamic_slice_in_dim(x, lax.axis_index(layout.axes) * rows, rows)

    split = _compat.shard_map(local, layout.mesh, (P(),), P(layout.rows[0]))
    by_rows: jax.Array = split(x)
    return by_rows


def _devices_of(x: jax.Array) -> tuple[jax.Device, ...]:
    """In the order that XLA numbers them in; in none in particular where nobody tells it."""
    if isinstance(x.sharding, NamedSharding) and isinstance(x.sharding.mesh, Mesh):
        return tuple(x.sharding.mesh.devices.flat)
    return tuple(x.sharding.device_set)


def place(x: jax.Array, mesh: AnyMesh, spec: P) -> jax.Array:
    """Arrays that are committed to other devices than the mesh's, or in another order, are moved
    there."""
    if _compat.is_traced(x) or not isinstance(mesh, Mesh):
        return x
    if _devices_of(x) == tuple(mesh.devices.flat):
        return x
    sharding = NamedSharding(mesh, spec)
    if x.is_fully_addressable and not sharding.is_fully_addressable:
        # device_put would compare the processes' arrays, and wait for those that do not come.
        on_host = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: on_host[index])
    return jax.device_put(x, sharding)
