"""Print requirements of pyproject.toml, one a line, for `pip install -r`.

    python scripts/requirements.py dependencies build test

prints the package's own dependencies and those of the group `build` and the extra `test`;
`build-system` is what wheels are built with. Unlike `pip install .[test]` this needs nothing to be
built.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def main(names: list[str]) -> None:
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    project = config["project"]
    known = {
        "build-system": config["build-system"]["requires"],
        "dependencies": project["dependencies"],
        **project["optional-dependencies"],
        **config["dependency-groups"],
    }
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        sys.exit(f"usage: requirements.py NAME..., each one of: {' '.join(sorted(known))}")
    for requirement in sorted({requirement for name in names for requirement in known[name]}):
        print(requirement)


if __name__ == "__main__":
    main(sys.argv[1:])
