"""What differs between JAX versions, and the only private imports of JAX."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import re
import secrets
import socket
import warnings
import zlib
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

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

_job: Any
try:
    from jax._src.distributed import global_state as _job
except ImportError:  # a JAX to come: jobs of several processes are not known
    _job = None

#: The newest jax that all tests were run with, the one in CI. Newer ones are used all the same.
NEWEST_TESTED_JAX = "0.12.0"


class UntestedJaxWarning(UserWarning):
    """This jax is newer than the newest that jaxmg was tested with."""


def _release(version: str) -> tuple[int, ...]:
    """(0, 12, 0) of "0.12.0.1" and "0.12.0.dev20261123": patches and builds are no news."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def warn_if_untested(version: str = jax.__version__) -> None:
    """Gives one UntestedJaxWarning if `version` of jax is newer than NEWEST_TESTED_JAX."""
    if _release(version) > _release(NEWEST_TESTED_JAX):
        warnings.warn(
            f"jax {version} is newer than {NEWEST_TESTED_JAX}, the newest that jaxmg was tested "
            "with. To silence this: warnings.filterwarnings('ignore', message='jax .* is newer', "
            "category=UserWarning)",
            UntestedJaxWarning,
            stacklevel=3,
        )


def ffi_version() -> tuple[int, int]:
    """The version of XLA's foreign function interface in this jaxlib, by its headers."""
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text(encoding="utf-8")
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header))
    return int(found["MAJOR"]), int(found["MINOR"])


def running_cuda_major() -> int | None:
    """The major version of the CUDA that JAX's GPUs run, if it says so. Starts JAX's devices."""
    from jax.extend.backend import get_backend

    found = re.search(r"cuda (\d+)\d{3}\b", get_backend("cuda").platform_version)
    return int(found.group(1)) if found else None


_sharding: Any = jax.sharding
_set_mesh: Any = jax.set_mesh if hasattr(jax, "set_mesh") else _sharding.use_mesh

_mesh_of_body: ContextVar[Mesh | AbstractMesh | None] = ContextVar("mesh", default=None)


def shard_map(
    f: Callable[..., Any], mesh: Mesh | AbstractMesh, in_specs: Any, out_specs: Any
) -> Any:
    """``jax.shard_map`` over all axes of `mesh`, without the check of varying axes.

    The check cannot look into a foreign call.
    """

    @functools.wraps(f)
    def body(*args: Any) -> Any:
        outside = _mesh_of_body.set(mesh)
        try:
            return f(*args)
        finally:
            _mesh_of_body.reset(outside)

    return jax.shard_map(body, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def process_count() -> int:
    """Processes of the job, without starting a backend."""
    return int(getattr(_job, "num_processes", None) or 1)


def spans_processes() -> bool:
    """Whether the devices of the ``shard_map`` being traced may belong to several processes.

    Where the devices are not known yet they may.
    """
    known = _mesh_of_body.get()
    if _job is None and isinstance(known, Mesh) and _processes_of(known) > 1:
        raise RuntimeError(
            f"mesh: expected devices of one process, got those of {_processes_of(known)}: jax "
            f"{jax.__version__} does not tell jaxmg of jobs of several processes; install the "
            f"newest jax that jaxmg was tested with, {NEWEST_TESTED_JAX}"
        )
    if process_count() == 1:
        return False
    if isinstance(known, Mesh):
        return _processes_of(known) > 1
    return True


def _processes_of(mesh: Mesh) -> int:
    return len({device.process_index for device in mesh.devices.flat})


def has_all_devices() -> bool:
    """Whether the mesh of the ``shard_map`` being traced has all devices of the job."""
    return int(get_abstract_mesh().size) == jax.device_count()


def devices_number(axes: tuple[str, ...], group_axes: tuple[str, ...]) -> int:
    """A number of the devices of the ``shard_map`` being traced, and of which rank of which group
    each is; 0 where they are not known yet."""
    mesh = _mesh_of_body.get()
    if not isinstance(mesh, Mesh):
        return 0
    ids = [device.id for device in mesh.devices.flat]
    text = repr((ids, tuple(mesh.shape.items()), axes, group_axes))
    return (zlib.crc32(text.encode()) & 0x7FFFFFFF) or 1


class Job(NamedTuple):
    """The processes that `jax.distributed.initialize` has brought together."""

    process: int
    processes: int
    local_devices: int = 0
    devices: int = 0
    name: str = ""  # equal in all of them on this host, and in no other job
    listening: int = -1  # a TCP socket for those of other hosts; whoever asked closes it
    secret: str = ""  # equal in all of them, for who connects to it
    contact: str = ""  # its address and port
    others: str = ""  # lines of a number and a contact: those of other hosts that listen already


def job(platform: str) -> Job:
    """Asked when a program for devices of `platform` is about to be run."""
    processes = process_count()
    if processes == 1:
        return Job(0, 1)
    process, client = int(_job.process_id or 0), _job.client
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # another process was the first
        client.key_value_set("jaxmg/job", f"{secrets.token_hex(16)} {secrets.token_hex(16)}")
    name, secret = client.blocking_key_value_get("jaxmg/job", 60_000).split()
    host = _host()
    listening = socket.create_server((_own_address(), 0), family=_family_of(_own_address()))
    listening.setblocking(False)
    contact = "{} {}".format(*listening.getsockname()[:2])
    # Whoever reads this connects: of two processes at least the later one.
    folder = f"jaxmg/{platform}/"
    client.key_value_set(f"{folder}{process}", f"{contact} {host}")
    others = [
        f"{key.rsplit('/', 1)[-1]} {address} {port}"
        for key, value in client.key_value_dir_get(folder)
        for address, port, theirs in [value.split()]
        if theirs != host
    ]
    return Job(
        process,
        processes,
        jax.local_device_count(platform),
        jax.device_count(platform),
        name + os.environ.get("JAXMG_TEST_HOST", ""),
        listening.detach(),
        secret,
        contact,
        "\n".join(others),
    )


def _host() -> str:
    """The same in all processes that local sockets of this one's user reach."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        network = os.readlink("/proc/self/ns/net")
    except OSError:
        machine, network = socket.gethostname(), ""
    return f"{machine}/{network}/{os.geteuid()}/{os.environ.get('JAXMG_TEST_HOST', '')}"


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _own_address() -> str:
    """The address by which other hosts reach this one: where it would reach JAX's coordinator from.

    A host that takes its own name for a loopback has the address of its default route. Only a
    coordinator on "localhost" is one for processes of this host alone.
    """
    host, _, port = str(_job.coordinator_address).rpartition(":")
    host = host.strip("[]")
    found = _address_towards(host, int(port))
    if host != "localhost" and host != found and ipaddress.ip_address(found).is_loopback:
        with contextlib.suppress(OSError):  # no network
            return _address_towards("192.0.2.1", 9)
    return found


def _address_towards(host: str, port: int) -> str:
    """From which address `host` is reached. Sends nothing."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def reshard(x: jax.Array, mesh: Mesh | AbstractMesh, spec: P) -> jax.Array:
    """`x` in another sharding; over Auto axes XLA does it, where ``shard_map`` asks for it."""
    if jax.__version_info__ < (0, 7) and jax.typeof(x).sharding.mesh.empty:
        # JAX 0.6 could not transpose a reshard from no mesh, and takes the types of a value and its
        # tangent to differ where one of them comes from no mesh.
        on_mesh: jax.Array = shard_map(lambda x: x, mesh, (spec,), spec)(x)
        return on_mesh
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    explicit = {name for name, kind in kinds.items() if kind == AxisType.Explicit}
    if not explicit:
        return x
    return _reshard(x, NamedSharding(mesh, P(*(_only(explicit, entry) for entry in spec))))


def _only(names: set[str], entry: Any) -> Any:
    """What a PartitionSpec's `entry` says of these axes."""
    if isinstance(entry, tuple):
        return tuple(axis for axis in entry if axis in names) or None
    return entry if entry in names else None


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
    try:
        from jax._src.mesh import thread_resources
    except ImportError:  # a JAX to come, without `with mesh:`
        return None
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

    JAX 0.6 can only where the loop is one that ``jvp`` made. It also transposes a ``shard_map``
    whose result nobody uses, with zeros, which times infinity are NaN; a ``jit`` it leaves out.
    """
    if jax.__version_info__ >= (0, 7):
        return f(x)
    y: jax.Array = jax.jit(lambda x: jax.jvp(f, (jax.numpy.zeros_like(x),), (x,))[1])(x)
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
