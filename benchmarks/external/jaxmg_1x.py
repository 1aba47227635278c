"""Measures the published JAXMg 1.x, written for 1.4.1, as an external baseline.

    python -m jaxmg bench figure3 --external "jaxmg-1.4.1=PYTHON benchmarks/external/jaxmg_1x.py"

PYTHON is that of an environment with the published package, which has the same import name. It
needs one process a GPU: this program starts them, reads cases from its standard input and prints
measurements, as python/jaxmg/bench/external.py has it. Nothing of this repository is loaded but
bench/matrices.py, for the same matrices.

Processes that end or are silent for too long are started again for the cases that are left: when a
rank fails, its peers may wait for it for ever.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

MATRICES = Path(__file__).parents[2] / "python" / "jaxmg" / "bench" / "matrices.py"
ROUTINES = ("potrs", "syevd")
RANK = "JAXMG_1X_RANK"
STARTED = "started"
SAMPLES = 64  # eigenpairs whose residual is taken

Request = dict[str, Any]


# ---- The launcher ----------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tiles",
        default="1024",
        metavar="T,...",
        help="T_A for cases that leave it to the library, which cannot choose",
    )
    parser.add_argument(
        "--patience", type=float, default=600, metavar="SECONDS", help="that one case may take"
    )
    parser.add_argument("--requests", help=argparse.SUPPRESS)  # for the ranks
    parser.add_argument("--port", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if RANK in os.environ:
        return work(arguments.requests, int(os.environ[RANK]), arguments.port)
    tiles = [int(tile) for tile in arguments.tiles.split(",")]
    todo: list[Request] = []
    for line in sys.stdin:
        request = json.loads(line)
        if request["routine"] not in ROUTINES:
            answer(request, status="unsupported")
        else:
            chosen = [request["tile"]] if request["tile"] else tiles
            todo += [{**request, "tile": tile} for tile in chosen]
    for devices in sorted({request["devices"] for request in todo}):
        launch([request for request in todo if request["devices"] == devices], arguments.patience)
    return 0


def launch(todo: list[Request], patience: float) -> None:
    """Has one group of processes after the other work on the requests, until all are answered."""
    too_large: dict[tuple[Any, ...], int] = {}
    while todo:
        request = todo[0]
        n = request["matrix"]["n"]
        if n >= too_large.get(kind(request), n + 1):
            answer(todo.pop(0), status="out_of_memory", message="a smaller one was out of memory")
            continue
        with Ranks(todo) as ranks:
            while todo and (said := ranks.next_answer(patience)) is not None:
                print(json.dumps(said), flush=True)
                request = todo.pop(0)
                if said["status"] == "out_of_memory":
                    too_large[kind(request)] = request["matrix"]["n"]
                    break  # the others wait for this rank, or their memory is in pieces
            else:
                # One case is to blame, or, if they never started, none of them can be measured.
                lost, todo = (todo[:1], todo[1:]) if ranks.started else (todo, [])
                for request in lost:
                    answer(request, status="failed", message=ranks.trouble(patience))


def kind(request: Request) -> tuple[Any, ...]:
    """All but the order."""
    matrix = {**request["matrix"], "n": None}
    return (*(request[key] for key in ("routine", "rhs", "tile")), *matrix.values())


def answer(request: Request, **said: Any) -> None:
    print(json.dumps({"case": request["case"], "tile": request["tile"], **said}), flush=True)


class Ranks:
    """One process a GPU, and what rank 0 says.

    Attributes:
      started: whether the processes have found each other.
    """

    def __init__(self, todo: list[Request]) -> None:
        self.started = self._ended = False
        self._stack = contextlib.ExitStack()
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        file = self._stack.enter_context(tempfile.NamedTemporaryFile("w"))  # noqa: SIM115
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        json.dump(todo, file)
        file.flush()
        self._lines: queue.Queue[str | None] = queue.Queue()
        command = [sys.executable, __file__, "--requests", file.name, "--port", port]
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else [str(i) for i in range(todo[0]["devices"])]
        self._processes = [
            subprocess.Popen(
                command,
                env={
                    "XLA_PYTHON_CLIENT_ALLOCATOR": "vmm",  # it asks for these two
                    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",
                    **os.environ,
                    RANK: str(rank),
                    "CUDA_VISIBLE_DEVICES": gpus[rank],
                },
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                stderr=self._errors if rank == 0 else subprocess.DEVNULL,
            )
            for rank in range(todo[0]["devices"])
        ]
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._stack.close()

    def _read(self) -> None:
        for line in self._processes[0].stdout:
            self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)

    def next_answer(self, patience: float) -> dict[str, Any] | None:
        """None if there is none in time, or the process has ended."""
        end = time.monotonic() + patience
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
            if line is None:
                self._ended = True
                return None
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if said == STARTED:
                    self.started = True
                elif isinstance(said, dict) and "case" in said:
                    return said

    def trouble(self, patience: float) -> str:
        if not self._ended:
            return f"no result within {patience:g} s"
        self._processes[0].wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()
        return f"rank 0 ended with status {self._processes[0].returncode}: {words[-500:]}"


# ---- A rank ----------------------------------------------------------------------------------


def work(requests: str, rank: int, port: str) -> int:
    import jax

    todo = json.loads(Path(requests).read_text())
    devices = todo[0]["devices"]
    jax.distributed.initialize(f"localhost:{port}", devices, rank)
    jax.config.update("jax_enable_x64", True)
    import numpy as np

    spec = importlib.util.spec_from_file_location("matrices", MATRICES)
    matrices = importlib.util.module_from_spec(spec)
    sys.modules["matrices"] = matrices  # dataclasses look there
    spec.loader.exec_module(matrices)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("x",))
    if rank == 0:
        print(json.dumps(STARTED), flush=True)
    for request in todo:
        try:
            said = {"status": "ok", **measure(request, mesh, matrices)}
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            full = "RESOURCE_EXHAUSTED" in message or "out of memory" in message.lower()
            said = {"status": "out_of_memory" if full else "failed", "message": message[:500]}
        if rank == 0:
            answer(request, **said)
    return 0


def measure(request: Request, mesh: Any, matrices: Any) -> dict[str, Any]:
    """Runs, all of them of fresh operands, which the library may so destroy or not."""
    import jax
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    import jaxmg

    matrix = matrices.Matrix(**request["matrix"])
    make = matrix.maker(mesh)
    everywhere = NamedSharding(mesh, P())

    def operands() -> tuple[Any, Any]:
        b = matrices.right_hand_sides(matrix.n, request["rhs"], matrix.dtype, matrix.kind)
        b = jax.device_put(b.reshape(matrix.n, -1), everywhere)
        return make(), jax.block_until_ready(b)

    def call(a: Any, b: Any) -> Any:
        if request["routine"] == "potrs":
            return jaxmg.potrs(a, b, request["tile"], mesh, P("x", None))
        return jaxmg.syevd(a, request["tile"], mesh, P("x", None))

    times: dict[str, list[float]] = {"arrays": [], "runs": []}
    result = None
    for run in range(request["warmups"] + request["repeats"]):
        result = None
        begin = time.perf_counter()
        a, b = operands()
        made = time.perf_counter()
        result = jax.block_until_ready(call(a, b))
        times["arrays"].append(made - begin)
        times["runs"].append(time.perf_counter() - made)
        del a, b
        limit = request["max_seconds"]
        if run >= request["warmups"] and limit and sum(times["runs"][request["warmups"] :]) > limit:
            break
    warmups = request["warmups"]
    said = {
        "warmup_seconds": times["runs"][:warmups],
        "seconds": times["runs"][warmups:],
        "residual": residual(request["routine"], operands, result),
    }
    return said | ({"array_seconds": times["arrays"][warmups:]} if request["arrays"] else {})


def residual(routine: str, operands: Any, result: Any) -> float:
    """LAPACK's, scaled, in the 1-norm: of x, or of the first and last eigenpairs."""
    import jax
    import jax.numpy as jnp

    def norm1(y: Any) -> Any:
        return jnp.max(jnp.sum(jnp.abs(y), axis=0))

    @jax.jit
    def of_solution(a: Any, b: Any, x: Any) -> Any:
        r = b - jnp.matmul(a, x.reshape(b.shape), precision="highest")
        return norm1(r) / (norm1(a) * norm1(x.reshape(b.shape)))

    @jax.jit
    def of_pairs(a: Any, w: Any, v: Any) -> Any:
        some = jnp.concatenate([v[:, :SAMPLES], v[:, -SAMPLES:]], axis=1)
        values = jnp.concatenate([w[:SAMPLES], w[-SAMPLES:]]).astype(some.dtype)
        r = jnp.matmul(a, some, precision="highest") - some * values
        return norm1(r) / (norm1(a) * norm1(some))

    a, b = operands()
    value = of_solution(a, b, result) if routine == "potrs" else of_pairs(a, *result)
    return float(value) / (a.shape[0] * float(jnp.finfo(a.dtype).eps))


if __name__ == "__main__":
    sys.exit(main())
