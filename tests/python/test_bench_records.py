"""Records: their schema, where they were measured, tables and comparisons of them."""

import importlib.metadata
import json
import os
import sys

import jsonschema
import pytest
from benching import RESULTS, record_of, row

from jaxmg.bench import record, report
from jaxmg.bench.compare import compare
from jaxmg.bench.environment import as_text, describe_environment

GEMM = {"routine": "gemm", "n": 16384, "rhs": None, "gflops": 100.0}


def test_schema():
    schema = record.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    # What came to version 1 later is not required: older records stay valid.
    of_rows = schema["$defs"]["row"]
    assert set(of_rows["properties"]) - set(of_rows["required"]) == {
        "array_seconds",
        "device_gflops",
        "donated",
        "jit",
        "kappa",
        "matrix",
        "stage_seconds",
    }
    assert set(schema["properties"]) - set(schema["required"]) == {"cases"}
    assert set(of_rows["required"]) < set(of_rows["properties"])


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_records_of_this_repository(path):
    old = record.read(path)
    assert report.markdown(old).count("\n") == 3 + len(old["rows"])
    assert compare(old, old, 1.1).regressions == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("suite"), r"record: 'suite' is a required property"),
        (lambda r: r.update(version=2), r"record.version: 1 was expected"),
        (lambda r: r.update(more=1), r"record: .*'more' was unexpected"),
        (lambda r: r["rows"][0].update(n=0), r"record.rows\[0\].n: "),
        (lambda r: r["rows"][0].update(median=None), r"record.rows\[0\].median: "),
        (lambda r: r["rows"][0].update(matrix="hilbert"), r"record.rows\[0\].matrix: "),
        (lambda r: r["rows"][1].update(status="failed"), r"record.rows\[1\].message: "),
    ],
)
def test_records_with_mistakes(tmp_path, change, message):
    result = record_of(row(), row("scipy"))
    path = tmp_path / "new" / "record.json"
    record.write(result, path)
    assert record.read(path) == result
    change(result)
    with pytest.raises(ValueError, match=message):
        record.write(result, path)
    record.read(path)  # as it was
    path.write_text(json.dumps(result))
    with pytest.raises(ValueError, match=rf"record.json: {message}"):
        record.read(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"record.json: Expecting property name"):
        record.read(path)


# ---- Tables ----------------------------------------------------------------------------------


def test_lines_of_the_console():
    failed = row(status="failed", message="of course\nbecause")
    assert report.line(failed).endswith(" failed: of course ...")
    assert report.line(row(seconds=(0.5, 1.5))).split()[-4:] == [
        "1000.00",
        "500.00",
        "50.0",
        "1.0e-01",
    ]
    assert " random 1e+10 jaxmg " in report.line(row(kappa=1e10))
    assert " diagonal     jaxmg " in report.line(row(matrix="diagonal", kappa=1e10))
    assert " random       jaxmg, jit " in report.line(row(jit=True))
    assert report.ratios(record_of(row())) == report.shares_of_gemm(record_of(row())) == ""


def test_markdown():
    rows = [
        row(
            tile=512,
            jit=True,
            array_seconds=[0.25, 0.25],
            ratios={"jax": {"median": 0.5, "min": 0.5}, "scipy": {"median": 4, "min": 4}},
        ),
        row("gemm", **GEMM),
        row("jax", status="out_of_memory", message="no | room\nat all"),
    ]
    lines = report.markdown(record_of(*rows)).splitlines()
    assert lines[0].startswith("Suite made, 2026-11-23T05:46:02+00:00, 2 x cpu, jaxmg 1, jax 1")
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines[4:]]
    assert {len(line) for line in cells} == {14} == {lines[3].count("|") - 1}
    assert cells[0] == [
        *("| potrs", "float64", "64", "1", "2", "random", "jaxmg, jit", "512"),
        *("1000.00", "1250.00", "50", "0.50", "1.0e-01", "2.00 jax, 0.25 scipy |"),
    ]
    assert cells[1][8:] == ["1000.00", "", "100", "", "1.0e-01", "|"]
    assert cells[2][8:] == ["out of memory", "", "", "", "", r"no \| room at all |"]


# ---- Comparisons -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "regressions"),
    [
        ((1.0, 1.0), (1.05, 1.05), 0),
        ((1.0, 1.0), (1.2, 1.2), 1),
        ((1.0, 1.0), (1.0, 1.6), 0),  # the shortest run is as short as before: noise
        ((1.0, 2.0), (1.3, 1.3), 0),  # the median is less than before
        ((1.0, 1.0), (0.5, 0.5), 0),
    ],
)
def test_regressions(before, after, regressions):
    found = compare(record_of(row(seconds=before)), record_of(row(seconds=after)), 1.1)
    assert (found.regressions, found.compared) == (regressions, 1)
    assert ("REGRESSION" in found.lines[1]) == bool(regressions)
    assert (
        compare(record_of(row(seconds=before)), record_of(row(seconds=after)), 1.7).regressions == 0
    )


def test_what_stops_working_is_a_regression():
    good, bad = record_of(row()), record_of(row(status="out_of_memory", message="no room"))
    found = compare(good, bad, 1.1)
    assert found.regressions == 1
    assert found.lines[1].endswith("out of memory: no room (was: 1000.00 ms)  REGRESSION")
    found = compare(bad, good, 1.1)
    assert found.regressions == 0
    assert found.lines[1].endswith("(was: out of memory)")


def test_only_the_same_is_compared():
    ours = row()
    other = {
        "n": 65,
        "dtype": "float32",
        "tile": 3,
        "devices": 4,
        "matrix": "diagonal",
        "kappa": 1e5,
        "donated": True,
        "jit": True,
        "series": "jax",
    }
    for key, value in other.items():
        found = compare(record_of(ours), record_of({**row(seconds=(9.0,)), key: value}), 1.1)
        assert (found.regressions, found.compared) == (0, 0)
        assert [line.split(":")[0] for line in found.lines[1:]] == [
            "only in the old record",
            "only in the new record",
        ]
    older = {key: value for key, value in ours.items() if key not in ("matrix", "kappa")}
    assert compare(record_of(older), record_of(ours), 1.1).compared == 1


# ---- Where it was measured -------------------------------------------------------------------


def test_environment():
    environment = describe_environment()
    assert environment["devices"] == [{"platform": "cpu", "kind": "cpu", "count": 8}]
    assert environment["cpu"]["cores"] >= 1
    assert environment["settings"]["jax_enable_x64"] is True
    text = as_text(environment)
    for line in ("jax ", "jaxlib ", "revision ", "cpu ", "blas ", "devices   8 x cpu"):
        assert f"\n{line}" in text


TOPOLOGY = r"""\t\033[4mGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\033[0m
GPU0\t X \tNV18\t0-47\t0
GPU1\tNV18\t X \t48-95\t1

Legend:
  X    = Self
"""


@pytest.mark.parametrize("topology", [f"printf '{TOPOLOGY}'", "exit 1"])
def test_environment_of_gpus(monkeypatch, tmp_path, topology):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\n"
        'case "$1" in --query*) printf "NVIDIA H200, 580.1\\nNVIDIA H200, 580.1\\n" ;;\n'
        f"topo) {topology} ;;\n"
        '*) echo "| Driver Version: 580.1  CUDA Version: 13.0 |" ;; esac\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    environment = describe_environment("capped at 500 W")
    links = [["X", "NV18"], ["NV18", "X"]] if topology != "exit 1" else []
    assert environment["gpus"] == {
        "names": ["NVIDIA H200"] * 2,
        "driver": "580.1",
        "cuda": "13.0",
        "links": links,
    }
    assert environment["device_note"] == "capped at 500 W"
    text = as_text(environment)
    assert "gpu       NVIDIA H200" in text
    assert ("links     X NV18" in text) == bool(links)
    assert "note      capped at 500 W" in text
    record.validate(record_of(row()) | {"environment": environment})


@pytest.mark.parametrize(
    ("plugin", "suffix"), [("jax-cuda12-plugin", "-cu12"), ("jax-cuda13-plugin", "")]
)
def test_versions_of_either_cuda(monkeypatch, plugin, suffix):
    packages = {plugin, *(f"nvidia-{x}{suffix}" for x in ("cublas", "cuda-runtime", "cusolver"))}

    def version(name):
        if name in packages or not name.startswith(("jax-cuda", "nvidia-")):
            return "1.2"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    versions = describe_environment()["versions"]
    assert {name for name in versions if "-" in name} == packages


def test_environment_without_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    environment = describe_environment()
    assert environment["blas"] is None
    assert 'pip install "jaxmg[bench]"' in as_text(environment)
