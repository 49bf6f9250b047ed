"""Caches figures that take long to compute in a file, so that an interrupted benchmark resumes from there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sottovoce.files import write_text


def cached(path: Path, compute: Callable[[], Any]) -> Any:
    """The JSON value in a file, computed and written first if the file is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(compute(), indent=2) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))
