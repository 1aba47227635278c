"""Starts processes that make calls together: a job of jax.distributed on this machine.

On CPU devices, or, with JAXMG_TEST_PLATFORM=cuda, on GPUs: each process takes its own, or, where
there are too few, they share them.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devices import DEVICES, PLATFORM

#: For a job; programs for GPUs take long to compile.
SECONDS = {"cpu": 240, "cuda": 500}[PLATFORM]
PROGRAM = Path(__file__).with_name("job_program.py")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _apart(index):
    """NCCL, by which JAX moves arrays between processes, takes a GPU twice where it believes that
    the processes are on different hosts."""
    return {"NCCL_HOSTID": f"jaxmg-test-{index}", "NCCL_SOCKET_IFNAME": "lo"}


class Job:
    """`processes` of `devices` each, which run `case` of job_program.py.

    Of several `hosts` each has as many processes: those of one take those of others for far away.
    """

    def __init__(self, case, processes, devices, *arguments, hosts=1, timeout="60", **environment):
        known = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        known |= {
            "JAX_PLATFORMS": {"cpu": "cpu", "cuda": "cuda,cpu"}[PLATFORM],
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAXMG_TIMEOUT": timeout,
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            **environment,
        }
        shares_gpus = PLATFORM == "cuda" and processes * devices > DEVICES
        port = _free_port()
        self._outputs = [tempfile.TemporaryFile("w+") for _ in range(processes)]  # noqa: SIM115
        numbers = [processes, devices, hosts, DEVICES, port]
        self.processes = [
            subprocess.Popen(
                [sys.executable, PROGRAM, case, *map(str, [index, *numbers, *arguments])],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=known
                | {"JAXMG_TEST_HOST": f"-{index * hosts // processes}"}
                | (_apart(index) if shares_gpus else {}),
            )
            for index, output in enumerate(self._outputs)
        ]

    def output(self, index):
        self._outputs[index].seek(0)
        return self._outputs[index].read()

    def finish(self, seconds=SECONDS, expected=None):
        """Waits for all; fails unless they end in time with the `expected` codes, 0 if not given.

        The test fails as soon as one has: the others would wait for it.
        """
        expected = expected or [0] * len(self.processes)
        end = time.monotonic() + seconds
        try:
            while True:
                codes = [process.poll() for process in self.processes]
                failed = any(c not in (None, e) for c, e in zip(codes, expected, strict=True))
                if failed or None not in codes or time.monotonic() > end:
                    break
                time.sleep(0.05)
        finally:
            self.kill()
        report = "\n".join(
            f"---- process {i}: {codes[i]}, expected {expected[i]}\n{self.output(i)[-4000:]}"
            for i in range(len(codes))
        )
        assert codes == expected, report

    def kill(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def run_job(case, processes, devices, *arguments, **options):
    seconds = options.pop("seconds", SECONDS)
    expected = options.pop("expected", None)
    job = Job(case, processes, devices, *arguments, **options)
    job.finish(seconds, expected)
    return [job.output(index) for index in range(processes)]
