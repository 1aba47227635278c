"""External baselines: commands that answer JSON lines, and the one for the published JAXMg 1.x."""

import os
import sys
from pathlib import Path

import pytest
from benching import of_series, run, suite_with

from jaxmg.bench import Choices, external, outcome

PEER = Path(__file__).parents[2] / "benchmarks" / "external" / "jaxmg_1x.py"

READ = """
import json, os, sys, time
requests = [json.loads(line) for line in sys.stdin]
def answer(request, **said):
    print(json.dumps({"case": request["case"], **said}), flush=True)
"""


@pytest.fixture
def measured(tmp_path):
    """What a command of this body answers to cases of orders 16, 24 and 32."""

    def measure(body, **case):
        script = tmp_path / "other.py"
        script.write_text(READ + body)
        command = f"{sys.executable} {script}"
        suite = suite_with({"n": [16, 24, 32], **case}, choices=Choices(externals={"o": command}))
        outcomes, lines = outcome.Outcomes(), []
        external.measure(suite, outcomes, lines.append)
        assert command in lines[0]
        return [outcomes.of(case, "o") for case in suite.cases]

    return measure


def test_what_is_asked():
    (case,) = suite_with({"rhs": 2, "tile": 3, "max_seconds": 9, "matrix": "kernel"}).cases
    assert external.request(case, 7) == {
        "case": 7,
        "routine": "potrs",
        "rhs": 2,
        "devices": 8,
        "tile": 3,
        "warmups": 1,
        "repeats": 3,
        "max_seconds": 9,
        "donate": False,
        "arrays": False,
        "matrix": {
            "kind": "kernel",
            "n": 24,
            "dtype": "float64",
            "definite": True,
            "kappa": 1e3,
            "seed": 0,
        },
    }


def test_answers(measured):
    first, second, third = measured("""
print("a warning, and half an object: {")
for r in requests[::-1]:
    n = r["matrix"]["n"]
    if n == 16:
        for tile in (4, 8):
            answer(r, status="ok", tile=tile, devices=2, warmup_seconds=[9.0], seconds=[2.0, 4.0],
                   array_seconds=[0.5, 0.5], residual=0.25)
    elif n == 24:
        answer(r, status="out_of_memory", message="too little")
    else:
        answer(r, status="unsupported")
""")
    assert third == []
    assert [o.tile for o in first] == [4, 8]
    assert first[0] == outcome.Outcome(
        "potrs",
        16,
        2,
        rhs=1,
        tile=4,
        warmup_seconds=[9.0],
        seconds=[2.0, 4.0],
        array_seconds=[0.5, 0.5],
        gflops=pytest.approx((16**3 / 3 + 2 * 16**2) / 3e9),
        residual=0.25,
    )
    (full,) = second
    assert (full.failure, full.out_of_memory, full.devices) == ("too little", True, 8)


def test_wrong_answers(measured):
    (wrong,), (lost,), (nan,) = measured("""
answer(requests[0], status="ok", seconds=[1.0], residual=11)
answer(requests[1], status="ok", seconds=[1.0])
answer(requests[2], status="ok", seconds=[1.0], residual=float("nan"))
""")
    assert wrong.failure == "residual 11, expected at most 10"
    assert lost.failure == "not the answer expected: KeyError('residual')"
    assert (nan.failure, nan.residual) == ("residual nan, expected at most 10", None)
    (known,), (other,), _ = measured("""
answer(requests[0], status="fine")
print(json.dumps({"case": 3}))
""")
    assert "status: expected one of ok, failed, out_of_memory" in known.failure
    assert other.failure == "o: expected a case from 0 to 2, got 3"


def test_commands_that_fail(measured, monkeypatch):
    (first,), (second,), (third,) = measured("""
answer(requests[0], status="ok", seconds=[1.0], residual=0.1)
sys.exit("no device")
""")
    assert first.failure is None
    assert second.failure == third.failure == "o: exit status 1: no device"

    monkeypatch.setattr(external, "PATIENCE", 2)
    (first,), (second,), _ = measured("""
answer(requests[0], status="ok", seconds=[1.0], residual=0.1)
if os.fork() == 0:
    time.sleep(60)
time.sleep(60)
""")
    assert first.failure is None
    assert second.failure == "o: no line for 2 s"

    suite = suite_with({}, choices=Choices(externals={"o": "/not/there --at all"}))
    outcomes = outcome.Outcomes()
    external.measure(suite, outcomes, lambda _: None)
    ((lost,),) = (outcomes.of(case, "o") for case in suite.cases)
    assert "No such file" in lost.failure


def test_its_environment_is_not_ours(measured, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("JAXMG_LIBRARY_DIR", "/ours")
    monkeypatch.setenv("XLA_FLAGS", "")
    ((seen,), *_) = measured("""
names = [name for name in os.environ if name.startswith(("JAX", "PYTHONPATH", "XLA_FLAGS"))]
answer(requests[0], status="failed", message=" ".join(names))
""")
    assert seen.failure == "XLA_FLAGS"


def test_rows(tmp_path):
    script = tmp_path / "other.py"
    script.write_text(
        READ
        + """
for r in requests:
    answer(r, status="ok", seconds=[1.0 + (r["tile"] or 0)], residual=0.1)
"""
    )
    choices = Choices(externals={"other": f"{sys.executable} {script}"})
    result, _ = run(suite_with({"tile": ["auto", 3], "baselines": ["scipy"]}, choices=choices))
    rows = result["rows"]
    assert [(row["series"], row["tile"]) for row in rows] == [
        ("jaxmg", None),
        ("jaxmg", 3),
        ("scipy", None),
        ("other", None),
        ("other", 3),
    ]
    assert rows[3]["median"] == 1 and rows[4]["median"] == 4
    for ours in of_series(rows, 0, "jaxmg"):
        assert ours["ratios"]["other"]["median"] == ours["median"]  # of its best tile
    assert rows[0]["ratios"].keys() == {"scipy", "other"}


def test_the_published_package():
    """This one has its calls: it stands for it, with one process."""
    keep = {name: os.environ[name] for name in ("JAXMG_LIBRARY_DIR",) if name in os.environ}
    path = os.pathsep.join([str(Path(external.__file__).parents[2]), *sys.path])
    settings = {**keep, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = " ".join(
        ["env", *(f"{k}={v}" for k, v in settings.items()), sys.executable, str(PEER), "--tiles 8"]
    )
    case = {
        "routine": ["potri", "potrs"],
        "matrix": ["random", "diagonal"],
        "tile": ["auto", 16],
        "n": 32,
        "devices": 1,
        "arrays": True,
        "repeats": 2,
    }
    suite = suite_with(case, choices=Choices(externals={"jaxmg-1.4.1": command}))
    outcomes = outcome.Outcomes()
    external.measure(suite, outcomes, print)
    for case in suite.cases:
        of_case = outcomes.of(case, "jaxmg-1.4.1")
        if case.routine == "potri":  # 1.x has none
            assert of_case == []
            continue
        (found,) = of_case
        assert found.failure is None, found.failure
        assert (found.tile, found.devices) == (case.tile or 8, 1)
        assert len(found.seconds) == len(found.array_seconds) == 2
        assert found.residual < 1


PUBLISHED = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P

def potrs(a, b, T_A, mesh, spec):
    if len(a) == 32:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    everywhere = NamedSharding(mesh, P())
    return jax.jit(jnp.linalg.solve, in_shardings=everywhere, out_shardings=everywhere)(
        jax.device_put(a, everywhere), b)
"""


def test_the_published_package_with_two_processes(tmp_path):
    (tmp_path / "jaxmg.py").write_text(PUBLISHED)
    command = f"env PYTHONPATH={tmp_path} JAX_PLATFORMS=cpu {sys.executable} {PEER}"
    case = {"dtype": "complex64", "n": [16, 32, 40], "tile": 8, "devices": 2, "repeats": 2}
    suite = suite_with(case, choices=Choices(externals={"o": command}))
    outcomes = outcome.Outcomes()
    external.measure(suite, outcomes, print)
    (good,), (full,), (larger,) = (outcomes.of(case, "o") for case in suite.cases)
    assert good.failure is None, good.failure
    assert len(good.seconds) == 2 and good.devices == 2 and good.residual < 1
    assert full.out_of_memory and full.failure.endswith("RESOURCE_EXHAUSTED: Out of memory")
    assert larger.out_of_memory and larger.failure == "a smaller one was out of memory"


def test_the_published_package_that_cannot_start(tmp_path):
    """It ends; every case says why."""
    (tmp_path / "jax.py").write_text("raise SystemExit('no driver')")
    command = f"env PYTHONPATH={tmp_path} {sys.executable} {PEER}"
    suite = suite_with({"n": [16, 32], "devices": 2}, choices=Choices(externals={"o": command}))
    outcomes = outcome.Outcomes()
    external.measure(suite, outcomes, print)
    for case in suite.cases:
        (lost,) = outcomes.of(case, "o")
        assert lost.failure == "rank 0 ended with status 1: no driver"
