"""Names of the files in a job's folder."""

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
