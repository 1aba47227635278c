"""The command line: python -m jaxmg bench and info."""

import json
import os
import subprocess
import sys

import jax
import jsonschema
import pytest
from benching import SMALL, record_of, row

from jaxmg.__main__ import VARIABLES, main
from jaxmg.bench import command, load_suite, record


def jaxmg_command(*arguments):
    """In a process of its own: no devices and no 64-bit types before it asks for them."""
    clean = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")}
    return subprocess.run(
        [sys.executable, "-m", "jaxmg", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=clean,
        timeout=120,
        check=False,
    )


@pytest.fixture
def suite_file(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def asked(monkeypatch):
    """The suites that would be run, and all else that is said about the run."""
    seen = []

    def run_suite(suite, **options):
        seen.append((suite, options))
        return record_of(row())

    monkeypatch.setattr(command, "run_suite", run_suite)
    return seen


def test_a_run(suite_file, tmp_path):
    output = tmp_path / "record.json"
    some = ("--dtype", "float32,float64", "--repeat", 2, "--output", output)
    done = jaxmg_command("bench", suite_file, *some)
    assert done.returncode == 0, done.stderr
    assert f"written to {output}" in done.stdout
    assert "time of jaxmg / time of the baseline" in done.stdout
    assert "[3/3] potrs float64 n=64" in done.stderr
    result = record.read(output)
    assert len(result["rows"]) == 5
    assert [case["n"] for case in result["cases"]] == [40, 37, 64]
    assert all(len(row["seconds"]) == 2 for row in result["rows"])
    assert result["environment"]["settings"]["jax_enable_x64"] is True
    assert result["environment"]["devices"][0]["count"] == 8


def test_without_a_suite(asked):
    words = "bench --routine potrs,potri --dtype float64 --n 64,32 --tile auto,8 --devices 1,2"
    more = (
        "--matrix diagonal --baselines jax,gemm --donate --jit --arrays --platform cpu --kappa 50"
    )
    assert (
        main([*words.split(), *more.split(), "--engine", "jaxmg", "--external", "o=x --y=z"]) == 0
    )
    ((suite, options),) = asked
    assert (suite.name, suite.platform, suite.devices) == ("command line", "cpu", 2)
    assert suite.externals == {"o": "x --y=z"}
    assert options == {"device_note": None, "earlier": None, "save": None}
    assert {(c.routine, c.n, c.tile, c.devices) for c in suite.cases} == {
        (routine, n, tile, devices)
        for routine in ("potrs", "potri")
        for n in (64, 32)
        for tile in (None, 8)
        for devices in (1, 2)
    }
    assert {(c.matrix, c.kappa, c.baselines) for c in suite.cases} == {
        ("diagonal", 50.0, ("jax", "gemm", "o"))
    }
    assert {(c.donate, c.jit, c.arrays) for c in suite.cases} == {(True, True, True)}


def test_with_a_suite(asked, suite_file):
    plain = load_suite(suite_file)
    assert main(["bench", "run", str(suite_file)]) == 0
    assert asked.pop()[0] == plain
    words = "--n 16 --no-arrays --baselines none --warmups 0 --max-seconds 3 --programs here"
    assert main(["bench", str(suite_file), *words.split()]) == 0
    suite, _ = asked.pop()
    assert len(suite.cases) == 3 and suite.programs == "here"
    assert {(c.n, c.baselines, c.warmups, c.max_seconds) for c in suite.cases} == {(16, (), 0, 3.0)}


def test_failed_rows_are_told_by_the_exit_status(monkeypatch, suite_file):
    for status, expected in {"ok": 0, "out_of_memory": 0, "failed": 1}.items():
        message = None if status == "ok" else "of course"
        result = record_of(row(status=status, message=message))
        monkeypatch.setattr(command, "run_suite", lambda *_, r=result, **__: r)
        assert main(["bench", str(suite_file)]) == expected


def test_records_are_kept(asked, suite_file, tmp_path, capsys):
    """A record that is there is gone on with, or not touched."""
    output = tmp_path / "record.json"
    bench = ["bench", str(suite_file), "--output", str(output)]
    assert main([*bench, "--resume"]) == 0  # there is none yet
    suite, options = asked.pop()
    assert options["earlier"] is None
    earlier = record_of(row()) | {"cases": [record.settings(suite.cases[:1])]}
    options["save"](earlier)
    assert record.read(output) == earlier

    assert main(bench) == 2
    assert "record.json is there already; --resume goes on with it" in capsys.readouterr().err
    assert main([*bench, "--resume"]) == 0
    assert asked.pop()[1]["earlier"] == earlier
    record.write(record_of(row()), output)
    assert main([*bench, "--resume"]) == 2
    assert "does not say what its cases were" in capsys.readouterr().err
    assert main(["bench", str(suite_file), "--resume"]) == 2
    assert "--resume: expected --output FILE.json" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.yaml", "none.yaml"),
        (
            "figure4",
            "suite: expected a file or one of accuracy, figure3, figure3-short, quick, scaling",
        ),
        ("--routine potrs --n 8", "expected a suite, or --dtype too"),
        ("--routine potrx --dtype float32 --n 8", "routine: expected one of cho_solve"),
        ("--routine potrs --dtype float32 --n 0", "expected at least 1, got 0"),
        ("--routine potrs --dtype float32 --n 8 --tile half", "expected a number, got 'half'"),
        ("--routine potrs --dtype float32 --n 8 --kappa 0.5", "expected more than 1, got 0.5"),
        ("--routine potrs --dtype float32 --n 8 --repeat 0", "expected at least 1, got 0"),
        ("--routine potrs --dtype float32 --n 8 --external x", "expected NAME=COMMAND, got 'x'"),
        ("plot none.json", "none.json"),
        ("table none.json", "none.json"),
        ("compare none.json none.json", "none.json"),
        ("compare none.json none.json --bound 1", "expected more than 1, got 1.0"),
    ],
)
def test_mistakes(words, message, capsys):
    try:
        status = main(["bench", *words.split()])
    except SystemExit as ended:  # argparse's way
        status = ended.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_records_are_drawn_printed_and_compared(tmp_path, capsys):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    record.write(record_of(row()), paths[0])
    record.write(record_of(row(seconds=(2.0,))), paths[1])
    a, b = map(str, paths)

    assert main(["bench", "plot", a, b, "--output", str(tmp_path / "c.svg")]) == 0
    assert capsys.readouterr().out == f"written to {tmp_path / 'c.svg'}\n"
    assert (tmp_path / "c.svg").exists()

    assert main(["bench", "table", a, b]) == 0
    assert capsys.readouterr().out.count("| potrs |") == 2

    assert main(["bench", "compare", a, b]) == 1
    assert "1 of 1 rows are regressions" in capsys.readouterr().out
    assert main(["bench", "compare", a, b, "--bound", "2.5"]) == 0
    assert main(["bench", "compare", b, a]) == 0
    record.write(record_of(row(n=65)), b)
    assert main(["bench", "compare", a, b]) == 2
    elsewhere = record_of(row())
    elsewhere["environment"]["devices"][0]["count"] = 4
    record.write(elsewhere, b)
    assert main(["bench", "compare", a, b]) == 0
    assert "measured on different devices" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["yaml", "jsonschema"])
def test_missing_packages(suite_file, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    call = {"yaml": lambda: load_suite(suite_file), "jsonschema": record.validator}[module]
    with pytest.raises(ImportError, match=rf'needs {module}.*pip install "jaxmg\[bench\]"'):
        call()


def test_info(capsys):
    done = jaxmg_command("info", "--json")
    assert done.returncode == 0, done.stderr
    environment = json.loads(done.stdout)
    assert environment.pop("engines").keys() == {"cpu", "cuda", "cusolvermg"}
    assert environment.pop("variables").keys() == set(VARIABLES)
    schema = record.schema()
    jsonschema.Draft202012Validator(
        {**schema["$defs"]["environment"], "$defs": schema["$defs"]}
    ).validate(environment)
    assert environment["settings"]["jax_enable_x64"] is False
    assert main(["info", "--links"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("python ") and "variable  JAXMG_ENGINE is not set" in out
    assert out.count("\nbandwidth ") == 1 + jax.local_device_count()
    assert [row.split()[i + 1] for i, row in enumerate(out.splitlines()[-8:])] == 8 * ["-"]
