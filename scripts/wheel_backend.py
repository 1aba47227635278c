"""scikit-build-core, whose wheels auditwheel then names for the oldest systems that they run on.

So ``pip wheel .`` gives a ``manylinux`` wheel. Nothing is bundled: CUDA's libraries are those that
JAX brings. Where auditwheel knows no name for a wheel, such as on a system too new or too odd, the
wheel keeps the name of this system alone, and that is said.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scikit_build_core import build
from scikit_build_core.build import *  # noqa: F403  (all other hooks as they are)

OF_CUDA = ["libcublas.so.*", "libcublasLt.so.*", "libcusolver.so.*"]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as folder:
        name = build.build_wheel(folder, config_settings, metadata_directory)
        built, named = Path(folder, name), Path(folder, "named")
        excluded = [argument for library in OF_CUDA for argument in ("--exclude", library)]
        command = [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto"]
        done = subprocess.run(
            [*command, *excluded, "--wheel-dir", named, built], capture_output=True, text=True
        )
        if done.returncode == 0:
            (built,) = named.glob("*.whl")
        else:
            print(
                f"{done.stderr}jaxmg: this wheel is for systems like this one: {name}", flush=True
            )
        return Path(shutil.copy(built, wheel_directory)).name
