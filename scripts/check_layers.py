"""Check that each layer includes and imports only what it may know.

Prints one line a violation and exits with 1 if there is any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPP_SUFFIXES = {".cpp", ".hpp", ".h", ".cu", ".cuh"}
CPP_FOLDERS = ("include", "src", "ffi", "tests", "tester", "examples", "benchmarks")
PYTHON_FOLDERS = ("python", "tests", "examples", "benchmarks", "scripts")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
VENDOR = re.compile(
    r"^(cuda|cublas|cusolver|cusparse|curand|nccl|nvtx|nvToolsExt|cub/|thrust/|hip/)"
)
PRIVATE_JAX = re.compile(r"^\s*(?:from|import)\s+(?:jax\._src|jaxlib\._)|\bjax\._src\b")

# These stand above every device and every framework.
CONTRACTS = "src/device/contract"
ARITHMETIC = tuple(f"src/device/{name}.hpp" for name in ("leaf", "secular", "sturm", "thread"))
TEAM_SOLVER = "src/engines/team_solver.hpp"
PORTABLE = ("include/", "src/algorithms/", "src/distribution/", CONTRACTS, TEAM_SOLVER, *ARITHMETIC)
# Which of the project's own headers they may include.
MAY_INCLUDE = {
    "src/distribution/": ("jaxmg/", "distribution/"),
    CONTRACTS: ("jaxmg/", "distribution/", "device/contract", "device/secular.hpp"),
    TEAM_SOLVER: ("jaxmg/", "team/note.hpp"),
    **dict.fromkeys(ARITHMETIC, ("jaxmg/", "device/thread.hpp")),
    "src/algorithms/": ("jaxmg/", "distribution/", "device/contract", "team/", "algorithms/"),
}
XLA_FOLDER = "ffi/"
PRIVATE_JAX_FILE = "python/jaxmg/_compat.py"


def files(folders: tuple[str, ...], suffixes: set[str]) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path.relative_to(ROOT).as_posix(), path


def lines(path: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)


def cpp_violations() -> Iterator[str]:
    for name, path in files(CPP_FOLDERS, CPP_SUFFIXES):
        for number, line in lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(2)
            if name.startswith(PORTABLE) and VENDOR.match(header):
                yield f"{name}:{number}: a vendor header where none may be known: {header}"
            for layer, known in MAY_INCLUDE.items():
                own = match.group(1) == '"'
                if own and name.startswith(layer) and not header.startswith(known):
                    yield f"{name}:{number}: a header that {layer} may not know: {header}"
            if header.startswith("xla/") and not name.startswith(XLA_FOLDER):
                yield f"{name}:{number}: an XLA header outside {XLA_FOLDER}: {header}"
            if name.startswith("include/") and not re.match(r"^(jaxmg/|[a-z_0-9]+$)", header):
                yield f"{name}:{number}: a public header includes a private one: {header}"


def python_violations() -> Iterator[str]:
    this_file = Path(__file__).resolve()
    for name, path in files(PYTHON_FOLDERS, {".py"}):
        if name == PRIVATE_JAX_FILE or path == this_file:
            continue
        for number, line in lines(path):
            if PRIVATE_JAX.search(line.split("#", 1)[0]):
                yield f"{name}:{number}: private JAX outside {PRIVATE_JAX_FILE}"


def main() -> int:
    violations = [*cpp_violations(), *python_violations()]
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
