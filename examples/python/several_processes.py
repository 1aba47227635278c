"""A Gaussian process fitted by several processes, each with its own devices and its own rows of the
kernel matrix.

Started by Slurm or Open MPI it is one of their processes. Else it starts `--processes` of them
here, or, with `--coordinator` and `--index`, is one that you have started yourself:

    python several_processes.py --processes 4
    srun --nodes=1 --ntasks=4 python several_processes.py
    mpirun -np 4 python several_processes.py
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)  # of each process
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxmg

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SCALE, NOISE = 0.3, 1e-2
LAUNCHERS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK")


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-((x[:, None] - y[None, :]) ** 2) / (2 * SCALE**2))


def fit(output: Path) -> None:
    """What each process runs."""
    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    points = 64 * jax.device_count()
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 4, points))
    y = np.sin(3 * x) * x + NOISE**0.5 * rng.standard_normal(points)

    def rows(index: tuple[slice, ...]) -> np.ndarray:
        """Made where they stay: no process ever has the whole matrix."""
        return kernel(x[index[0]], x) + NOISE * np.eye(points)[index[0]]

    sharding = NamedSharding(mesh, P("x", None))
    matrix = jax.make_array_from_callback((points, points), sharding, rows)
    weights, logdet = jaxmg.potrs(matrix, y, return_logdet=True)
    likelihood = -(y @ np.asarray(weights) + logdet + points * jnp.log(2 * jnp.pi)) / 2
    if jax.process_index() != 0:
        return
    print(f"{jax.process_count()} processes, {jax.device_count()} devices, {points} points")
    print(f"log likelihood {float(likelihood):.6f}")
    at = np.linspace(0, 4, 400)
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(x, y, ".", markersize=3, label="data")
    axes.plot(at, kernel(at, x) @ np.asarray(weights), label="posterior mean")
    axes.legend()
    output.mkdir(parents=True, exist_ok=True)
    picture = output / "several_processes.png"
    figure.savefig(picture, dpi=150)
    print(f"wrote {picture}")


def start(processes: int, output: Path) -> int:
    """Starts all processes here and waits for them; the first that fails ends the others."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    command = [sys.executable, __file__, "--coordinator", coordinator, "--output", str(output)]
    command += ["--processes", str(processes), "--index"]
    return wait_for([subprocess.Popen([*command, str(index)]) for index in range(processes)])


def wait_for(processes: list[subprocess.Popen[bytes]]) -> int:
    """0 when all have ended well; 1 as soon as one has not, and then none is left running."""
    try:
        codes = [process.poll() for process in processes]
        while None in codes and not any(codes):
            time.sleep(0.1)
            codes = [process.poll() for process in processes]
        # That of a process which a signal has ended is negative.
        return 1 if any(codes) else 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--coordinator", help="host:port of the first process")
    parser.add_argument("--index", type=int, help="which process this is")
    parser.add_argument("--output", type=Path, default=Path("several_processes"))
    options = parser.parse_args()
    if options.coordinator is not None:
        jax.distributed.initialize(options.coordinator, options.processes, options.index)
    elif any(name in os.environ for name in LAUNCHERS):
        jax.distributed.initialize()
    else:
        return start(options.processes, options.output)
    fit(options.output)
    jax.distributed.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
