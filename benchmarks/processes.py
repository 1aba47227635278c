"""One process with all GPUs against one process a GPU, by peers' memory and by NCCL, on one host.

    python benchmarks/processes.py results.json
    python benchmarks/processes.py results.json --cases potrs:16384 potri:32768 --repeats 5

Starts the processes itself, each mode in turn, `--rounds` times. Prints the median time of each
case and mode and its ratio to that of one process, and writes all times as JSON. Exit status 1 if a
process failed or took too long. On CPUs (`--platform cpu`), without NCCL, it shows only that it
works.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

CASES = ("potrs:16384", "potrs:32768", "potrs:65536", "potri:32768", "syevd:16384")
DTYPE = "float64"


# ---- A process of a job ------------------------------------------------------------------------


def worker(options: argparse.Namespace) -> None:
    """Prints one line of JSON a case."""
    import jax

    jax.config.update("jax_enable_x64", True)
    here = options.devices // options.processes
    if options.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", here)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if options.processes > 1:
        own = None
        if options.platform == "cuda":
            own = list(range(here * options.worker, here * (options.worker + 1)))
        jax.distributed.initialize(
            f"localhost:{options.port}", options.processes, options.worker, own
        )
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P
    from large_potrs import make_matrix

    import jaxmg

    mesh = jax.make_mesh((options.devices,), ("x",))
    rows = P("x", None)
    routines: dict[str, Any] = {
        "potrs": lambda a, b: jaxmg.potrs(a, b, mesh=mesh, in_specs=rows),
        "potri": lambda a, b: jaxmg.potri(a, mesh=mesh, in_specs=rows),
        "syevd": lambda a, b: jaxmg.syevd(a, mesh=mesh, in_specs=rows),
    }
    for case in options.cases:
        routine, n = case.split(":")
        a = make_matrix(mesh, int(n), DTYPE)
        ones = jax.numpy.ones((int(n), 1), DTYPE)
        b = jax.make_array_from_callback(
            ones.shape, NamedSharding(mesh, P()), lambda index, of=ones: of[index]
        )
        call = jax.jit(routines[routine])
        seconds = []
        for _ in range(2 + options.repeats):
            begin = time.perf_counter()
            jax.block_until_ready(call(a, b))
            seconds.append(time.perf_counter() - begin)
        if options.worker == 0:
            print(json.dumps({"case": case, "seconds": seconds[2:]}), flush=True)
        del a, b
    sys.stdout.flush()
    os._exit(0)  # not to wait for the others


# ---- The jobs ----------------------------------------------------------------------------------


class Mode(NamedTuple):
    """How the devices belong to processes."""

    processes: int
    settings: dict[str, str]


def modes_of(options: argparse.Namespace) -> dict[str, Mode]:
    modes = {"one process": Mode(1, {}), "one process a device": Mode(options.devices, {})}
    if options.platform == "cuda":
        modes["by NCCL"] = Mode(options.devices, {"JAXMG_TEAM": "nccl"})
    return modes


def run_job(options: argparse.Namespace, mode: Mode) -> dict[str, list[float]]:
    """The times of each case, as the first process measured them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "-", "--platform", options.platform]
    command += ["--devices", str(options.devices), "--repeats", str(options.repeats)]
    command += ["--processes", str(mode.processes), "--port", str(port)]
    command += ["--cases", *options.cases]
    platforms = {"cpu": "cpu", "cuda": "cuda,cpu"}[options.platform]
    environment = os.environ | {"JAX_PLATFORMS": platforms} | mode.settings
    started = [
        subprocess.Popen(
            [*command, "--worker", str(index)],
            stdout=subprocess.PIPE if index == 0 else subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        for index in range(mode.processes)
    ]
    try:
        output, _ = started[0].communicate(timeout=options.limit)
        codes = [process.wait(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    if any(codes):
        raise RuntimeError(f"{mode.processes} processes ended with {codes}")
    measured = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {one["case"]: one["seconds"] for one in measured}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="ROUTINE:N")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one job")
    for internal in ("--worker", "--processes", "--port"):
        parser.add_argument(internal, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options)
    modes = modes_of(options)
    times: dict[str, dict[str, list[float]]] = {name: {} for name in modes}
    try:
        for _ in range(options.rounds):
            for name, mode in modes.items():
                for case, seconds in run_job(options, mode).items():
                    times[name].setdefault(case, []).extend(seconds)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    results = []
    for case in options.cases:
        medians = {name: statistics.median(times[name][case]) for name in modes}
        ratios = {name: median / medians["one process"] for name, median in medians.items()}
        seconds_of = {name: times[name][case] for name in modes}
        results.append({"case": case, "dtype": DTYPE, "ratios": ratios, "seconds": seconds_of})
        for name, median in medians.items():
            print(f"{case:14s} {name:22s} {median:9.4f} s   ratio {ratios[name]:.3f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"devices": options.devices, "platform": options.platform, "results": results}
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
