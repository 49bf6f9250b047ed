"""Figures that take long, kept in a file, so that a benchmark that breaks off goes on from there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sottovoce.files import write_text


def kept(path: Path, made: Callable[[], Any]) -> Any:
    """The JSON value in a file, which is made and written, whole, if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(made(), indent=2) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))
