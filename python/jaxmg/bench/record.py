"""The record of a run: JSON that schema.json describes, field by field."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._extras import need

if TYPE_CHECKING:
    from .suite import Case

VERSION = 1


def schema() -> dict[str, Any]:
    """The JSON schema of records."""
    text = importlib.resources.files(__package__).joinpath("schema.json").read_text("utf-8")
    return json.loads(text)


def validator() -> Any:
    """The validator of records; an ImportError says how to get it."""
    return need("jsonschema").Draft202012Validator(schema())


def settings(cases: Sequence[Case]) -> dict[str, Any]:
    """What the record says of cases that were measured together."""
    fields = dataclasses.asdict(cases[0])
    del fields["engine"], fields["tile"]
    return fields | {
        "engines": list(dict.fromkeys(case.engine for case in cases)),
        "tiles": list(dict.fromkeys(case.tile for case in cases)),
        "baselines": list(cases[0].baselines),
    }


def read(path: str | Path) -> dict[str, Any]:
    """A record that was written; ValueError if the file is none."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        validate(record)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return record


def validate(record: dict[str, Any]) -> None:
    """Raises ValueError, naming the place, if `record` is not as the schema has it."""
    error = need("jsonschema").exceptions.best_match(validator().iter_errors(record))
    if error is not None:
        raise ValueError(f"record{error.json_path[1:]}: {error.message}")


def write(record: dict[str, Any], path: str | Path) -> None:
    """Validates and writes, all or nothing."""
    validate(record)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(new, path)
