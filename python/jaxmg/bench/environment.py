"""Where something was measured: versions, processor, BLAS, devices. ``python -m jaxmg info``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ._extras import have

_VARIABLES = ("JAX_", "JAXMG_", "MKL_NUM", "OMP_", "OPENBLAS_", "XLA_", "CUDA_VISIBLE_DEVICES")

#: CUDA 13's packages, and CUDA 12's.
_NVIDIA = (
    *("jax-cuda13-plugin", "nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cusolver"),
    *(
        "jax-cuda12-plugin",
        "nvidia-cublas-cu12",
        "nvidia-cuda-runtime-cu12",
        "nvidia-cusolver-cu12",
    ),
)


def describe_environment(device_note: str | None = None) -> dict[str, Any]:
    """All that explains a measurement, ready for JSON. Starts JAX's backend.

    Args:
      device_note: what else there is to say about the devices.
    """
    return {
        "versions": _versions(),
        "revision": _revision(),
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "cores": _cores()},
        "blas": _blas(),
        "devices": _devices(),
        "gpus": _gpus(),
        "device_note": device_note,
        "settings": {
            "jax_enable_x64": jax.dtypes.canonicalize_dtype(np.float64) == np.float64,
            **{k: v for k, v in sorted(os.environ.items()) if k.startswith(_VARIABLES)},
        },
    }


def _versions() -> dict[str, str | None]:
    packages = ("jaxmg", "jax", "jaxlib", "numpy", "scipy")
    versions = {"python": platform.python_version(), **{name: _version(name) for name in packages}}
    # What JAX computes with on NVIDIA's GPUs; named only where they are.
    return versions | {name: found for name in _NVIDIA if (found := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit of the working copy that this package lies in, ``-dirty`` if that has changes."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return run.stdout.strip()

    try:
        top = Path(git("rev-parse", "--show-toplevel"))
        # Installed into an environment inside somebody else's working copy: not our commit.
        if not (top / "python" / "jaxmg" / "__init__.py").is_file():
            return None
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or None


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _blas() -> list[dict[str, Any]] | None:
    """The BLAS libraries in this process and their threads; None without threadpoolctl."""
    threadpoolctl = have("threadpoolctl")
    if threadpoolctl is None:
        return None
    return [
        {
            "library": pool["internal_api"],
            "version": pool.get("version"),
            "file": Path(pool["filepath"]).name,
            "threads": pool["num_threads"],
        }
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]


def _devices() -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str], int] = {}
    for device in jax.devices():
        kind = (device.platform, device.device_kind)
        kinds[kind] = kinds.get(kind, 0) + 1
    return [
        {"platform": name, "kind": kind, "count": count} for (name, kind), count in kinds.items()
    ]


def _gpus() -> dict[str, Any] | None:
    """NVIDIA's driver, the newest CUDA that it runs, and the GPUs; None where there is none."""

    def smi(*arguments: str) -> str:
        command = ["nvidia-smi", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return run.stdout

    try:
        lines = smi("--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
        cuda = re.search(r"CUDA Version\s*: *([\d.]+)", smi())
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        topology = smi("topo", "-m")
    except (OSError, subprocess.SubprocessError):
        topology = ""  # not in every container
    rows = [[cell.strip() for cell in line.rsplit(",", 1)] for line in lines if "," in line]
    if not rows:
        return None
    return {
        "names": [name for name, _ in rows],
        "driver": rows[0][1],
        "cuda": cuda.group(1) if cuda else None,
        "links": _links(topology),
    }


def _links(topology: str) -> list[list[str]]:
    """How each GPU reaches each other one, in nvidia-smi's words: NV18, PIX, SYS; X for itself."""
    rows = [line.split() for line in topology.splitlines() if re.match(r"GPU\d+\s", line.strip())]
    return [row[1 : len(rows) + 1] for row in rows if len(row) > len(rows)]


def as_text(environment: dict[str, Any]) -> str:
    """The environment, a line for each thing."""
    versions = {
        name: version or "not installed" for name, version in environment["versions"].items()
    }
    lines = [f"{name:9} {version}" for name, version in versions.items()]
    lines.append(f"revision  {environment['revision'] or 'unknown (no working copy)'}")
    lines.append(f"platform  {environment['platform']}")
    lines.append(f"cpu       {environment['cpu']['model']}, {environment['cpu']['cores']} cores")
    if environment["blas"] is None:
        lines.append('blas      unknown; pip install "jaxmg[bench]" brings threadpoolctl')
    for pool in environment["blas"] or []:
        lines.append(
            f"blas      {pool['library']} {pool['version']}, {pool['threads']} threads "
            f"({pool['file']})"
        )
    for kind in environment["devices"]:
        lines.append(f"devices   {kind['count']} x {kind['kind']} ({kind['platform']})")
    if environment["gpus"] is not None:
        gpus = environment["gpus"]
        lines += [f"gpu       {name}" for name in gpus["names"]]
        lines += [f"links     {' '.join(row)}" for row in gpus["links"]]
        lines.append(f"driver    {gpus['driver']}, for CUDA up to {gpus['cuda']}")
    if environment["device_note"] is not None:
        lines.append(f"note      {environment['device_note']}")
    lines += [f"setting   {name}={value}" for name, value in environment["settings"].items()]
    return "\n".join(lines)
