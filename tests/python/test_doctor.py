"""python -m jaxmg doctor: what it checks, and what it says where something is wrong."""

import json
import re
import subprocess

import jax
import pytest

import jaxmg
from jaxmg import _doctor, _library
from jaxmg.__main__ import main


@pytest.fixture
def alone(monkeypatch):
    """Without the processes that it starts."""
    monkeypatch.setattr(_doctor, "_two_processes", lambda: "not tried")


def found():
    return {finding.check: finding for finding in _doctor.findings()}


def test_everything_works(capsys):
    assert main(["doctor", "--json"]) == 0
    checks = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert all(finding["status"] != "fail" for finding in checks.values()), checks
    for check in (
        "engine cpu",
        "FFI registration, cpu",
        "peer copies, cpu",
        "potrs, cpu, engine jaxmg",
        "potri, cpu, engine jaxmg",
        "syevd, cpu, engine jaxmg",
        "process mode, two processes of this host",
    ):
        assert checks[check]["status"] == "pass"


def test_a_handler_that_is_missing(alone, monkeypatch, capsys):
    def missing(*args, **options):
        raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: No registered implementation\nand more")

    monkeypatch.setattr(jaxmg, "cyclic_1d", missing)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert re.search("fail  FFI registration, cpu: .*Error: UNIMPLEMENTED: No registered", out)
    assert "and more" not in out and "      the package and its compiled library" in out


def test_a_wrong_result(alone, monkeypatch):
    potrs = jaxmg.potrs
    monkeypatch.setattr(jaxmg, "potrs", lambda *args, **how: potrs(*args, **how) * 1.01)
    wrong = found()["potrs, cpu, engine jaxmg"]
    assert wrong.status == "fail" and "scaled residual" in wrong.text and wrong.remedy


def test_copies_that_do_not_arrive(alone, monkeypatch):
    monkeypatch.setattr(_doctor, "wrong_copies", lambda devices: ["0 to 1"])
    finding = found()["peer copies, cpu"]
    assert finding.status == "fail" and finding.text.endswith("0 to 1")
    assert "nvidia-smi topo -p2p r" in finding.remedy


def test_engines_that_are_missing(alone, monkeypatch):
    engines = {"cpu": "yes", "cuda": "no: it is not there", "cusolvermg": "no: nor that"}
    monkeypatch.setattr(_library, "engines", lambda: engines)
    monkeypatch.setattr(_doctor, "_platforms", lambda: {})
    without = found()
    assert without["engine cpu"].status == "pass"
    assert without["engine cuda"].status == without["engine cusolvermg"].status == "skip"
    monkeypatch.setattr(_doctor, "_platforms", lambda: {"gpu": []})
    with_gpus = list(_doctor._engines())
    assert [finding.status for finding in with_gpus] == ["pass", "fail", "fail"]
    assert with_gpus[1].text == "it is not there" and with_gpus[1].remedy


def test_processes_that_fail(monkeypatch):
    monkeypatch.setattr(_doctor, "_PROCESS", "raise SystemExit('no network')")
    with pytest.raises(RuntimeError, match="exit status 1: no network"):
        _doctor._two_processes()
    monkeypatch.setattr(_doctor, "_PROCESS", "import time; time.sleep(60)")
    monkeypatch.setattr(_doctor, "PROCESSES_TIMEOUT", 1)
    with pytest.raises(subprocess.TimeoutExpired):
        _doctor._two_processes()
