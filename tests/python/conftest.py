"""Devices, 64-bit types and errors within seconds for all tests. See devices.py."""

import os

PLATFORM = os.environ.get("JAXMG_TEST_PLATFORM", "cpu")
if PLATFORM not in ("cpu", "cuda"):
    raise ValueError(f"JAXMG_TEST_PLATFORM: expected cpu or cuda, got {PLATFORM!r}")
os.environ.setdefault("JAX_PLATFORMS", {"cpu": "cpu", "cuda": "cuda,cpu"}[PLATFORM])
os.environ.setdefault("JAXMG_TIMEOUT", "120")
# Most of the time goes into compiling for the CPU: a fifth less of it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Some tests start processes, which need memory on the GPUs too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)

from devices import device_mesh

# They start processes with CPU devices of their own.
collect_ignore_glob = (
    ["test_bench_*.py", "test_docs.py", "test_examples.py"] if PLATFORM == "cuda" else []
)

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)


@pytest.fixture(params=DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=["jaxmg"] if PLATFORM == "cpu" else ["jaxmg", "cusolvermg"])
def engine(request, monkeypatch):
    """Whose algorithms run in calls that do not say: those of each engine of the platform."""
    monkeypatch.setenv("JAXMG_ENGINE", request.param)
    return request.param


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def axis_type(request):
    return request.param


@pytest.fixture
def mesh():
    """All devices on one Auto axis."""
    return device_mesh(axis_type=AxisType.Auto)
