"""The devices that tests run on: eight of the CPU, or, with JAXMG_TEST_PLATFORM=cuda, all GPUs."""

import os

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxmg import _library

PLATFORM = os.environ.get("JAXMG_TEST_PLATFORM", "cpu")
DEVICES = jax.device_count()
if jax.devices()[0].platform != {"cpu": "cpu", "cuda": "gpu"}[PLATFORM]:
    raise RuntimeError(f"JAXMG_TEST_PLATFORM={PLATFORM}, but JAX has {jax.devices()}")

cpu_only = pytest.mark.skipif(PLATFORM != "cpu", reason="about CPU devices")


def device_mesh(shape=None, names=("x",), devices=None, axis_type=None):
    """A mesh over the first devices, if no shape is given over all, or over `devices` by number, in
    that order. Skips the test where there are not so many."""
    shape = (DEVICES,) if shape is None else shape
    numbers = list(devices or range(int(np.prod(shape))))
    if max(numbers) >= DEVICES:
        pytest.skip(f"needs {max(numbers) + 1} devices, there are {DEVICES}")
    chosen = [jax.devices()[i] for i in numbers]
    kinds = {} if axis_type is None else {"axis_types": (axis_type,) * len(names)}
    return Mesh(np.array(chosen).reshape(shape), names, **kinds)


def inject_fault(rank):
    """Rank `rank` of the next call fails; returns what the message says then."""
    if PLATFORM == "cpu":
        _library.library().jaxmg_inject_fault(rank)
        return "injected fault"
    _library.inject_cuda_fault(rank, "error", 5)
    return ".*cudaErrorUnknown"


def resources():
    """Threads, open files and resident MiB of this process."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return (
        int(fields["Threads"]),
        len(os.listdir("/proc/self/fd")),
        int(fields["VmRSS"].split()[0]) / 1024,
    )
