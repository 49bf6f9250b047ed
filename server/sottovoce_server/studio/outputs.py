"""The log of everything that the studio made: exported for labels, kept as long as the operator says."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sottovoce_server.studio.schema import Output
from sottovoce_server.studio.views import OutputView, output_view

MONTH = r"[12][0-9]{3}-(0[1-9]|1[0-2])"
"""A month in UTC, such as 2026-12."""


def entries(
    session: Session, *, owner: str | None = None, month: str | None = None, model: str | None = None
) -> list[OutputView]:
    """Entries of the log, oldest first.

    Args:
        session: database session.
        owner: id of a token, or empty for this machine; None: all.
        month: such as `2026-12` (UTC); None: all.
        model: a release's name, with or without its version; None: all.
    """
    wanted = select(Output).order_by(Output.id)
    if owner is not None:
        wanted = wanted.where(Output.owner == owner)
    if month is not None:
        year, number = int(month[:4]), int(month[5:])
        first = datetime(year, number, 1, tzinfo=UTC)
        after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        wanted = wanted.where(Output.time >= first.timestamp(), Output.time < after.timestamp())
    if model is not None:
        named = Output.model == model
        wanted = wanted.where(named if "@" in model else named | Output.model.startswith(f"{model}@", autoescape=True))
    return [output_view(row) for row in session.scalars(wanted)]


def written(rows: Sequence[OutputView], form: str) -> str:
    """Entries as text.

    Args:
        rows: the entries.
        form: `csv` or `json`.
    """
    if form == "json":
        return json.dumps({"outputs": [each.model_dump(mode="json") for each in rows]})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(OutputView.model_fields))
    writer.writeheader()
    for each in rows:
        values = each.model_dump(mode="json")
        writer.writerow({**values, "parameters": json.dumps(values["parameters"], ensure_ascii=False)})
    return text.getvalue()


def forget(session: Session, before: float) -> int:
    """Delete the entries from before a time; return their number."""
    return int(session.execute(delete(Output).where(Output.time < before)).rowcount)  # type: ignore[attr-defined]
