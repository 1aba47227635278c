"""Small checks of an installation, each with its remedy: ``python -m jaxmg doctor``."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxmg

from . import _library, _loading
from ._links import wrong_copies

PASS, FAIL, SKIP = "pass", "fail", "skip"

#: LAPACK's scaled residuals are some tenths; above this a result is wrong.
RESIDUAL_LIMIT = 10.0
#: Order and tile of the tiny matrices: several tiles a device for up to eight of them.
ORDER, TILE = 256, 16
#: CPU devices, where JAX has not started yet.
CPU_DEVICES = 2
#: Seconds for two processes to start, meet and solve.
PROCESSES_TIMEOUT = 120


class Finding(NamedTuple):
    """What a check found; `remedy` where it failed."""

    check: str
    status: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.status}  {self.check}: {self.text}"
        return f"{line}\n      {self.remedy}" if self.remedy else line


def findings() -> Iterator[Finding]:
    """All checks, one after the other, each as soon as it is done. Starts JAX's backends."""
    with contextlib.suppress(RuntimeError):  # JAX has started already
        jax.config.update("jax_num_cpu_devices", CPU_DEVICES)
    yield Finding("library", PASS, str(_loading.library_path("cpu")))
    yield from _engines()
    for platform, devices in _platforms().items():
        engine = "cuda" if platform == "gpu" else "cpu"
        yield _checked(
            f"FFI registration, {platform}",
            functools.partial(_call_each_handler, devices[0]),
            "the package and its compiled library do not belong together, or JAX is too new: "
            "install jaxmg again (docs/compatibility.md lists the JAX versions)",
        )
        yield _peer_copies(platform, devices)
        for name in ("jaxmg", "cusolvermg"):
            if name == "jaxmg" or (engine == "cuda" and _library.cusolvermg_problem() is None):
                yield from _solutions(platform, devices, name)
    yield _checked(
        "process mode, two processes of this host",
        _two_processes,
        "processes need local sockets and shared memory (docs/processes.md); one process with all "
        "devices works without",
    )


def _checked(name: str, check: Callable[[], str], remedy: str) -> Finding:
    """What `check` returns, or the error that it raises."""
    try:
        return Finding(name, PASS, check())
    except Exception as error:
        first, *_ = str(error).strip().splitlines() or [""]
        return Finding(name, FAIL, f"{type(error).__name__}: {first}", remedy)


def _platforms() -> dict[str, list[jax.Device]]:
    """This process's devices of those platforms that jaxmg may have an engine for."""
    found = {}
    for platform in ("gpu", "cpu"):
        with contextlib.suppress(RuntimeError):  # there is none, or JAX_PLATFORMS leaves it out
            found[platform] = jax.local_devices(backend=platform)
    return found


def _engines() -> Iterator[Finding]:
    """An engine is wanted where JAX has devices for it."""
    has_gpus = "gpu" in _platforms()
    for name, there in _library.engines().items():
        check = f"engine {name}"
        if there.startswith("yes"):
            yield Finding(check, PASS, there)
        elif has_gpus:
            remedy = "docs/errors.md says what each message means, and what to install"
            yield Finding(check, FAIL, there.removeprefix("no: "), remedy)
        else:
            yield Finding(check, SKIP, f"JAX has no GPUs here; {there.removeprefix('no: ')}")


def _call_each_handler(device: jax.Device) -> str:
    mesh = Mesh(np.array([device]), ("x",))
    a = jax.device_put(2 * jnp.eye(4), NamedSharding(mesh, P("x", None)))
    b = jnp.ones(4)
    factor = jaxmg.cho_factor(a, mesh=mesh)
    results = (
        jaxmg.potrs(a, b, mesh=mesh),
        jaxmg.potri(a, mesh=mesh),
        jaxmg.syevd(a, mesh=mesh),
        factor.solve(b),
        factor.inverse(),
        jaxmg.cyclic_1d(a, 2, mesh, P("x", None)),
    )
    jax.block_until_ready(results)
    return "all handlers answer"


def _peer_copies(platform: str, devices: list[jax.Device]) -> Finding:
    check = f"peer copies, {platform}"
    if len(devices) == 1:
        return Finding(check, SKIP, "one device")
    wrong = wrong_copies(devices)
    if not wrong:
        return Finding(check, PASS, f"between {len(devices)} devices")
    remedy = (
        "`nvidia-smi topo -p2p r` shows which GPUs reach each other; PCIe access control (ACS, "
        "IOMMU) corrupts such copies on some machines: switch it off, or use fewer GPUs"
    )
    return Finding(check, FAIL, "data is not what was sent: " + ", ".join(wrong), remedy)


def _solutions(platform: str, devices: list[jax.Device], engine: str) -> Iterator[Finding]:
    """A tiny solution, inverse and decomposition on all devices together."""
    mesh = Mesh(np.array(devices), ("x",))
    n = ORDER - ORDER % len(devices)
    q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n)))
    spectrum = np.linspace(1, 3, n)
    a = ((q * spectrum) @ q.T).astype(np.float32)
    b = jnp.ones((n, 1), np.float32)
    rows = jax.device_put(a, NamedSharding(mesh, P("x", None)))
    how: dict[str, Any] = {"T_A": TILE, "mesh": mesh, "engine": engine}
    wide = a.astype(np.float64)

    def residual(difference: np.ndarray, *norms: float) -> str:
        scale = n * np.finfo(np.float32).eps * np.prod([_norm(wide), *norms])
        value = _norm(difference) / float(scale)
        if not value <= RESIDUAL_LIMIT:
            raise ArithmeticError(f"scaled residual {value:.3g}, expected some tenths")
        return f"scaled residual {value:.2g}, {len(devices)} devices, n = {n}"

    def potrs() -> str:
        x = np.asarray(jaxmg.potrs(rows, b, **how), np.float64)
        return residual(wide @ x - b, _norm(x))

    def potri() -> str:
        x = np.asarray(jaxmg.potri(rows, **how), np.float64)
        return residual(wide @ x - np.eye(n), _norm(x))

    def syevd() -> str:
        w, v = (np.asarray(array, np.float64) for array in jaxmg.syevd(rows, **how))
        error = np.max(np.abs(w - spectrum)) * np.eye(n)
        return residual(np.concatenate([wide @ v - v * w, error]))

    for call in (potrs, potri, syevd):
        yield _checked(
            f"{call.__name__}, {platform}, engine {engine}",
            call,
            "please report it, with what `python -m jaxmg info` says",
        )


def _norm(a: np.ndarray) -> float:
    return float(np.linalg.norm(a, 1))


#: One process of a job of two, with a CPU device each.
_PROCESS = """
import sys
import jax, numpy as np
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, int(sys.argv[1]))
import jaxmg
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((2,), ("x",))
a = (np.eye(64) * 4).astype(np.float32)
rows = jax.make_array_from_callback(a.shape, NamedSharding(mesh, P("x", None)), lambda at: a[at])
x = jaxmg.potrs(rows, np.ones(64, np.float32), 16, mesh)
assert np.allclose(x.addressable_data(0), 0.25), x
"""


def _two_processes() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    known = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    # The package that is checked, wherever it was imported from.
    path = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    known |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, path))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(index), str(port)],
            env=known,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=PROCESSES_TIMEOUT)
            if process.returncode != 0:
                lines = errors.strip().splitlines() or ["no message"]
                raise RuntimeError(f"exit status {process.returncode}: {lines[-1]}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return "CPU devices of both solved a system together"
