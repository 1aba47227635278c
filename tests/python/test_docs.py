"""What the documentation says is so: examples run, paths exist, messages and variables are real."""

import inspect
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from devices import DEVICES

import jaxmg
from jaxmg import _library
from jaxmg.__main__ import VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
MAP = ROOT / "docs" / "README.md"

PUBLIC = {
    f"{module.__name__}.{name}": function
    for module in (jaxmg, jaxmg.utils)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if not name.startswith("_") and (function.__module__ or "").startswith("jaxmg")
}

METHODS = {
    f"{name}.{method}": function
    for name, members in inspect.getmembers(jaxmg, inspect.isclass)
    for method, function in inspect.getmembers(members, inspect.isfunction)
    if not method.startswith("_") and function.__module__.startswith("jaxmg")
}


def run_python(code, cwd):
    """A new process: these tests have 64-bit types switched on, which users have not."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def blocks(page, language):
    """The code blocks of a page in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def sources(*folders):
    """The text of all C++ and Python files, adjacent string literals joined."""
    files = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    texts = [path.read_text() for path in files if path.suffix in {".py", ".cpp", ".hpp"}]
    return re.sub(r"""(?<!\\)["'] *(\+\s*|\n\s*)f?["']""", "", "\n".join(texts))


def check_docstring(name, function, sections):
    text = inspect.getdoc(function) or ""
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    for section in ("Args:", *sections) if parameters else sections:
        assert f"\n{section}\n" in text, f"{name}: no {section}"
    for parameter in parameters:
        assert re.search(rf"^  (.*, )?`?{parameter}`?(, .*)?:", text, re.MULTILINE), parameter


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_documented(name):
    check_docstring(name, PUBLIC[name], ("Raises:", "Example:"))


def test_public_methods_are_documented():
    assert "CholeskyFactor.solve" in METHODS
    for name, method in METHODS.items():
        check_docstring(name, method, ("Raises:",))


@pytest.mark.skipif(DEVICES < 2, reason="some need two devices")
def test_examples_in_docstrings(tmp_path):
    code = """
        import doctest, sys
        import jax
        jax.config.update("jax_num_cpu_devices", 8)
        import jaxmg
        runner = doctest.DocTestRunner()
        for name in sys.argv[1:]:
            module, _, function = name.rpartition(".")
            for test in doctest.DocTestFinder().find(getattr(sys.modules[module], function), name):
                runner.run(test)
                assert test.examples, name
        sys.exit(runner.summarize().failed)
    """
    code = f"import sys; sys.argv = ['', *{list(PUBLIC)}]\n" + textwrap.dedent(code)
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_python(tmp_path):
    """One program; a block that a block of text follows is expected to end with that error."""
    text = (ROOT / "README.md").read_text()
    found = re.findall(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)\n```$)?", text, re.DOTALL | re.MULTILINE
    )
    assert len(found) >= 3
    program = []
    for code, error in found:
        if error:
            program += ["try:", textwrap.indent(code, "    "), "    raise SystemExit('no error')"]
            program += ["except Exception as error:"]
            program += [f"    assert f'{{type(error).__name__}}: {{error}}' == {error!r}, error"]
        else:
            program.append(code)
    program.append('r = jnp.matmul(A, x, precision="highest") - b')
    program.append("assert jnp.abs(r).max() < 1e-4 and int(status) == 0")
    done = run_python("\n".join(program), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_readme_calls_absent_is():
    rows = re.findall(
        r"^\| (.*?) \|.*\babsent\b.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert "gesvd" in names
    assert [name for name in names if hasattr(jaxmg, name)] == []


def test_readme_cpp_is_part_of_the_example():
    """Line by line, in the example's order; the example itself is built and run by CTest."""
    (code,) = blocks(ROOT / "README.md", "cpp")
    example = (ROOT / "examples" / "cpp" / "01_solve.cpp").read_text()
    lines = iter([line.strip() for line in example.splitlines()])
    for line in code.splitlines():
        assert line.strip() in lines, f"not in 01_solve.cpp, or elsewhere: {line}"


def test_figures_are_those_of_the_script():
    script = runpy.run_path(str(ROOT / "docs" / "figures" / "draw.py"))
    for name, draw in script["PICTURES"].items():
        assert (ROOT / "docs" / "figures" / name).read_text() == draw().svg(), name


def test_paths_of_the_map_exist():
    names = [n for n in re.findall(r"`([\w./-]+)`", MAP.read_text()) if "/" in n or "." in n]
    paths = [n for n in names if not n.startswith("jaxmg.")]
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_layer_is_on_the_map():
    text = MAP.read_text()
    folders = [path for path in (ROOT / "src").iterdir() if path.is_dir()]
    assert [f.name for f in folders if f"`src/{f.name}/" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_environment_variables():
    text = (ROOT / "docs" / "environment.md").read_text()
    read = set(
        re.findall(
            r"""(?:getenv|environ(?:\.get)?)[(\[]["'](JAXMG_\w+)""",
            sources("src", "ffi", "python", "tests"),
        )
    )
    assert {"JAXMG_TIMEOUT", "JAXMG_LIBRARY_DIR"} <= read
    assert {name for name in read if f"| `{name}` |" not in text} == set()
    cmake = "\n".join(p.read_text() for p in [ROOT / "CMakeLists.txt", *ROOT.glob("cmake/*.cmake")])
    options = set(
        re.findall(r"^(?:option|set)\((JAXMG_\w+)(?=[^)]*(?:\" O|CACHE))", cmake, re.MULTILINE)
    )
    described = set(re.findall(r"^\| `(JAXMG_\w+)` \|", text, re.MULTILINE))
    assert described == read | options


def test_info_shows_the_variables_that_the_package_reads():
    text = (ROOT / "docs" / "environment.md").read_text()
    of_package = text.partition("## Read by the package")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(JAXMG_\w+)` \|", of_package, re.MULTILINE)) == set(VARIABLES)


def test_every_example_is_listed():
    folder = ROOT / "examples"
    listed = re.findall(r"\]\(((?:python|cpp)/[^)]+)\)", (folder / "README.md").read_text())
    files = [*folder.glob("python/*.py"), *folder.glob("cpp/*.cpp")]
    assert sorted(listed) == sorted(str(path.relative_to(folder)) for path in files)


def test_error_messages():
    """Each fragment that docs/errors.md quotes is in the sources."""
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    fragments = [
        cell
        for row in rows
        for cell in re.findall(r"`([^`]+)`", " | ".join(row.split(" | ")[:2]))
        if " " in cell
    ]
    assert len(fragments) > 30
    code = sources("python/jaxmg", "src", "ffi", "include").replace('\\"', '"')
    assert [fragment for fragment in fragments if fragment not in code] == []


def test_names_of_calls():
    """Those that programs which are exported must be told of."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    assert [target for target in _library._TARGETS if f"`{target}`" not in text] == []


def test_version_and_citation():
    version = (ROOT / "VERSION").read_text().strip()
    assert version in (ROOT / "CHANGELOG.md").read_text()
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["doi"] == "10.48550/arXiv.2601.14466"
    assert "2601.14466" in (ROOT / "README.md").read_text()
