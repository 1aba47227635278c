"""Eight CPU devices and 64-bit types for all tests; errors of the library come within seconds."""

import os

os.environ.setdefault("JAXMG_TIMEOUT", "120")

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)


@pytest.fixture(params=DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def axis_type(request):
    return request.param


@pytest.fixture
def mesh():
    """All eight devices on one Auto axis."""
    return jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
