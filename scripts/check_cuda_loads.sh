#!/usr/bin/env bash
# Loads each CUDA engine of build/lib as the package does, with NVIDIA's libraries of .venv-cuda and no
# GPU, and looks for all of its handlers: what it needs of those libraries is there, in the oldest
# versions that JAX installs.
set -euo pipefail
cd "$(dirname "$0")/.."
site_packages=$(echo .venv-cuda/lib/python3*/site-packages)
for major in 12 13; do
  PYTHONPATH=python:$site_packages JAXMG_LIBRARY_DIR=build/lib JAX_PLATFORMS=cpu LD_BIND_NOW=1 \
    .venv/bin/python - "$major" <<'PYTHON'
import ctypes
import sys

from jaxmg import _library, _loading

major = int(sys.argv[1])
_loading.load_nvidia_libraries(major)
path = _loading.library_path(f"cu{major}")
engine = ctypes.CDLL(str(path))
for target in _library._TARGETS:
    getattr(engine, f"{target}_cuda")
loaded = sorted(
    {line.split()[-1] for line in open("/proc/self/maps") if "libcublas" in line or "libcusol" in line}
)
assert loaded and all(".venv-cuda" in name for name in loaded), loaded
print(f"{path.name} loads with", *[name.rpartition("/")[2] for name in loaded])
PYTHON
done
