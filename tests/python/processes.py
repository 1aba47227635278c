"""New processes on CPU devices, for what happens once a process, or in another one."""

import os
import subprocess
import sys
import textwrap


def run_python(code, **variables):
    """Runs it; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout
