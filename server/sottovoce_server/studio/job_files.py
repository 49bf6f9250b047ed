"""The files in a job's folder."""

import shutil
from pathlib import Path

UPLOAD = "upload"
"""Name of the uploaded file, before its extension."""
FORMATS = (".flac", ".wav")
"""Extensions of the files of each piece."""


def piece_name(claim: int, number: int, form: str) -> str:
    """Name of a piece's file.

    Args:
        claim: which taking of the job made it: a worker that lost the job may still write.
        number: number of the piece.
        form: its extension.
    """
    return f"{claim}-{number}{form}"


def keep_only(folder: Path, claim: int) -> None:
    """Delete what an ended job no longer needs: the upload, and what claims before the last one made.

    Args:
        folder: its folder.
        claim: the claim whose pieces are kept; 0: none, and no folder.
    """
    if not claim:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for file in folder.glob("*"):
        if not file.name.startswith(f"{claim}-"):
            file.unlink(missing_ok=True)
