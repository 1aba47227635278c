"""Dense linear algebra for JAX arrays that are spread over many devices."""

from ._library import library as _load_library
from ._potrs import potrs as potrs

_load_library()
