"""Dense linear algebra for JAX arrays that are spread over many devices."""

from importlib.metadata import version as _version

from . import utils as utils
from ._cho_factor import CholeskyFactor as CholeskyFactor
from ._cho_factor import cho_factor as cho_factor
from ._cho_factor import cho_solve as cho_solve
from ._compat import UntestedJaxWarning as UntestedJaxWarning
from ._compat import warn_if_untested as _warn_if_untested
from ._cyclic import calculate_padding as calculate_padding
from ._cyclic import cyclic_1d as cyclic_1d
from ._cyclic import get_cols_cyclic as get_cols_cyclic
from ._cyclic import pad_rows as pad_rows
from ._cyclic import unpad_rows as unpad_rows
from ._cyclic import verify_cyclic as verify_cyclic
from ._library import cuda_library as _load_cuda_library
from ._library import library as _load_library
from ._plot import plot_block_to_cyclic as plot_block_to_cyclic
from ._potri import potri as potri
from ._potri import potri_shardmap_ctx as potri_shardmap_ctx
from ._potri import potri_symmetrize as potri_symmetrize
from ._potrs import potrs as potrs
from ._potrs import potrs_jit_ctx as potrs_jit_ctx
from ._potrs import potrs_shardmap_ctx as potrs_shardmap_ctx
from ._syevd import EighResult as EighResult
from ._syevd import eigh as eigh
from ._syevd import syevd as syevd
from ._syevd import syevd_jit_ctx as syevd_jit_ctx
from ._syevd import syevd_shardmap_ctx as syevd_shardmap_ctx

__version__ = _version("jaxmg")

_warn_if_untested()

# Programs that were exported or cached by another process call our handlers without tracing
# anything here, so they are registered now.
_load_library()
_load_cuda_library()
