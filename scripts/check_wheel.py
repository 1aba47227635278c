"""Check that a wheel is what it says: for every Python, with all engines, nothing of others in it.

    python scripts/check_wheel.py dist/jaxmg-*.whl [ENGINE...]

ENGINE is cpu, cu12 or cu13; without any, all of them are expected. Prints what the wheel needs of a
system, and exits with 1 if that is more than its name allows: a C library newer than the manylinux
tag's, or a library outside manylinux's policy that is not CUDA's.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Of manylinux's policy (PEP 600) what we need; of CUDA what JAX's own wheels bring.
OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0"}
OF_THE_SYSTEM |= {"libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2"}
OF_CUDA = {
    "cpu": set(),
    "cu12": {"libcublas.so.12", "libcublasLt.so.12", "libcusolver.so.11"},
    "cu13": {"libcublas.so.13", "libcublasLt.so.13", "libcusolver.so.12"},
}
WHEEL = re.compile(r"jaxmg-[^-]+-py3-none-manylinux_2_(\d+)_x86_64(?:\.[\w.]+)?\.whl")
LIBRARY = re.compile(r"jaxmg/_lib/libjaxmg_(\w+)-ffi(0\.\d+)\.so")


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needed(library: Path) -> set[str]:
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-d", library)))


def newest_libc(library: Path) -> int:
    """N of the newest GLIBC_2.N among the symbols that it asks for."""
    return max(map(int, re.findall(r"GLIBC_2\.(\d+)", output("objdump", "-T", library))))


def problems_of(library: Path, engine: str, libc: int) -> list[str]:
    problems = []
    if foreign := needed(library) - OF_THE_SYSTEM - OF_CUDA[engine]:
        problems.append(f"{library.name} needs {', '.join(sorted(foreign))}")
    if (newest := newest_libc(library)) > libc:
        problems.append(f"{library.name} needs GLIBC_2.{newest}, its tag promises 2.{libc}")
    if re.search(r"\((RPATH|RUNPATH)\)", output("readelf", "-d", library)):
        problems.append(f"{library.name} has paths to libraries in it")
    print(f"{library.name}: GLIBC_2.{newest}, {library.stat().st_size / 2**20:.1f} MiB")
    return problems


def check(wheel: Path, engines: set[str]) -> list[str]:
    name = WHEEL.fullmatch(wheel.name)
    if not name:
        return [f"expected jaxmg-VERSION-py3-none-manylinux_2_N_x86_64.whl, got {wheel.name}"]
    problems = []
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        libraries = [entry for entry in archive.namelist() if re.search(r"\.so\b", entry)]
        found = {
            match.groups(): entry for entry in libraries if (match := LIBRARY.fullmatch(entry))
        }
        if bundled := set(libraries) - set(found.values()):
            problems.append(f"libraries that are not ours: {', '.join(sorted(bundled))}")
        versions = {version for _, version in found}
        expected = {(engine, version) for engine in engines for version in versions}
        if set(found) != expected or not found:
            problems.append(f"expected {sorted(expected)}, found {sorted(found)}")
        for (engine, _), entry in sorted(found.items()):
            library = Path(archive.extract(entry, folder))
            problems += problems_of(library, engine, int(name.group(1)))
    return problems


def main(arguments: list[str]) -> int:
    wheel = Path(arguments[0])
    problems = check(wheel, set(arguments[1:]) or set(OF_CUDA))
    for problem in problems:
        print(f"{wheel.name}: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
