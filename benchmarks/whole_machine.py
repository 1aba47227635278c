"""All that is to be seen on a machine with many GPUs, in one call.

Correctness of all routines, in one process and with one process a GPU; the paper's figure 3; how
routines scale; and the two modes compared.

    make tester && pip install ".[bench,test]"
    python benchmarks/whole_machine.py results/ --gpus 8
    python benchmarks/whole_machine.py results/ --gpus 8 --stages figure3 scaling --limit 540

Writes records, pictures and each stage's output to the folder, and prints a table of the stages.
Records that end at the limit go on where they were when they are run again with the same folder.
Exit status 1 if a stage failed. On CPUs (`--platform cpu`) it shows only that it works.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROUTINES = ("potrf", "potrs", "potri", "inverse", "syevd", "syevd_values")

Commands = Iterator[list[str]]


def tester(options: argparse.Namespace) -> Commands:
    """C++, one process: sizes around tiles, all dtypes, on 2, 4, ... GPUs."""
    sizes = "1,53,64" if options.platform == "cpu" else "1,53,1000,4099,9000"
    ranks = ",".join(str(p) for p in (1, 2, 3, 4, 6, 8) if p <= options.gpus)
    device = "cpu"
    if options.platform == "cuda":
        device = "cuda:" + ",".join(map(str, range(options.gpus)))
    for routine in ROUTINES:
        command = [str(options.programs / "jaxmg_tester"), routine, "--type", "s,d,c,z"]
        yield [*command, "--n", sizes, "--ranks", ranks, "--device", device]


def python_tests(options: argparse.Namespace) -> Commands:
    """Python, one process, and one process a device."""
    tests = HERE.parent / "tests" / "python"
    pytest = [sys.executable, "-m", "pytest", "-q", "-m", "not slow"]
    if options.platform == "cpu":
        yield [*pytest, str(tests / "test_programs.py")]
    else:
        yield [*pytest, *(str(tests / f"test_{x}.py") for x in ("potrs", "potri", "syevd", "cuda"))]
    yield [*pytest, str(tests / "test_processes.py"), "-k", "all_routines or transformations"]


def bench(suite: str) -> Callable[[argparse.Namespace], Commands]:
    def commands(options: argparse.Namespace) -> Commands:
        """A suite, on all GPUs; and its pictures."""
        record = options.output / f"{options.platform}-{options.gpus}-{suite}.json"
        run = [sys.executable, "-m", "jaxmg", "bench"]
        measured = [*run, suite, "--platform", options.platform, "--output", str(record)]
        measured += ["--resume"] if record.exists() else []
        if options.platform == "cpu":
            small = ["--n", "64", "--max-seconds", "1", "--engine", "jaxmg"]
            yield [*measured, *small, "--devices", str(options.gpus)]
        elif suite == "scaling":
            yield measured
        else:
            yield [*measured, "--devices", str(options.gpus)]
        yield [*run, "plot", str(record), "--output", str(record.with_suffix(".svg"))]

    return commands


def suites(options: argparse.Namespace) -> Commands:
    """Those of machines with so many GPUs: the figures of docs/performance.md."""
    for suite in sorted((HERE / "suites").glob(f"{options.platform}-{options.gpus}-*.yaml")):
        record = options.output / f"{suite.stem}.json"
        command = [sys.executable, "-m", "jaxmg", "bench", str(suite), "--output", str(record)]
        command += ["--programs", str(options.programs)]
        yield [*command, *(["--resume"] if record.exists() else [])]


def largest(options: argparse.Namespace) -> Commands:
    """The largest systems of all dtypes."""
    if options.platform == "cuda":
        dtypes = ["float64", "float32", "complex128", "complex64"]
        yield [sys.executable, str(HERE / "large_potrs.py"), "probe", *dtypes]


def processes(options: argparse.Namespace) -> Commands:
    """One process, one process a GPU, and that by NCCL."""
    record = options.output / f"{options.platform}-{options.gpus}-processes.json"
    command = [sys.executable, str(HERE / "processes.py"), str(record)]
    command += ["--platform", options.platform, "--devices", str(options.gpus), "--rounds", "1"]
    yield [*command, *(["--cases", "potrs:64"] if options.platform == "cpu" else [])]


STAGES = {
    "tester": tester,
    "python": python_tests,
    "figure3": bench("figure3-short"),
    "scaling": bench("scaling"),
    "processes": processes,
    "suites": suites,
    "largest": largest,
}


def run_stage(name: str, options: argparse.Namespace, end: float) -> str:
    """What became of it."""
    environment = os.environ | {"JAXMG_TEST_PLATFORM": options.platform}
    became = "nothing to do"
    with open(options.output / f"{name}.log", "a") as log:
        for command in STAGES[name](options):
            print("$", *command, file=log, flush=True)
            try:
                code = subprocess.run(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    timeout=max(1.0, end - time.monotonic()),
                ).returncode
            except subprocess.TimeoutExpired:
                return "not finished in time"
            if code != 0:
                return f"FAILED ({code}), see {name}.log"
            became = "passed"
    return became


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, metavar="FOLDER")
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--limit", type=float, default=3600, help="seconds for all stages")
    parser.add_argument("--programs", type=Path, default=HERE.parent / "build" / "bin")
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.limit
    failed = False
    for name in options.stages:
        begin = time.monotonic()
        became = run_stage(name, options, end)
        failed |= became.startswith("FAILED")
        print(f"{name:12s} {time.monotonic() - begin:7.0f} s  {became}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
