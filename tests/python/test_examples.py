"""Every Python example runs to its end and draws its picture."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "python").glob("*.py"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    output = tmp_path / "output"
    done = subprocess.run(
        [sys.executable, str(example), "--output", str(output)],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pictures = list(output.glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert str(picture) in done.stdout
    assert list(tmp_path.iterdir()) == [output]


def test_a_process_that_a_signal_ends_ends_the_others():
    """Of several_processes.py, which changes JAX's configuration when it is imported."""
    code = """
        import subprocess, sys
        import several_processes

        programs = "import time; time.sleep(600)", "import os; os.kill(os.getpid(), 9)"
        started = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
        code = several_processes.wait_for(started)
        print(code, *(process.poll() for process in started))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=EXAMPLES[0].parent,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["1", "-9", "-9"], done.stderr
