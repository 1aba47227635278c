"""What there is to measure on, told without starting JAX, which would take the GPUs' memory."""

from __future__ import annotations

import os
import subprocess

from .. import _loading

#: On CPUs; JAX makes as many as it is told to.
CPU_DEVICES = 8


def platform() -> str:
    """``cuda`` where there are GPUs, JAX has its plugin for them and ``JAX_PLATFORMS`` does not
    leave them out, else ``cpu``."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    if wanted and not {"cuda", "gpu"} & set(wanted.split(",")):
        return "cpu"
    return "cuda" if _loading.cuda_plugins() and gpus() > 0 else "cpu"


def devices(platform: str) -> int:
    """How many devices of the platform a process can have."""
    if platform == "cpu":
        return int(os.environ.get("JAX_NUM_CPU_DEVICES", CPU_DEVICES))
    return gpus()


def gpus() -> int:
    """NVIDIA's GPUs that a process may use."""
    try:
        run = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    there = sum(line.startswith("GPU ") for line in run.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, sum(bool(name.strip()) for name in visible.split(",")))
