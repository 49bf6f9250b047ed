"""Reasons for rejecting a file of a catalogue."""

from enum import StrEnum


class RejectReason(StrEnum):
    """Why a file of a catalogue cannot be used: a closed list shared by scans and errors."""

    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    SILENT = "silent"
    NOT_FINITE = "not finite"
    TOO_SHORT = "too short"
    SAMPLE_RATE = "sample rate"
    NOT_AUDIO = "not audio"
    NO_PERMISSION = "no permission"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    NO_STYLE = "no style"
    DUPLICATE = "duplicate"
    OUTSIDE = "outside"
    BAD_ROW = "bad row"
