"""A label's catalogue: its audio files, their metadata, and what they may be used for."""

from sottovoce_client.catalogue.consent import DEFAULT_CONSENT, Consent, Purpose
from sottovoce_client.catalogue.holdout import Split, group_of, holdout
from sottovoce_client.catalogue.index import default_index
from sottovoce_client.catalogue.scanning import Progress, scan
from sottovoce_client.catalogue.tracks import Catalogue, NothingUsable, Rejected, Remark, Track

__all__ = [
    "DEFAULT_CONSENT",
    "Catalogue",
    "Consent",
    "NothingUsable",
    "Progress",
    "Purpose",
    "Rejected",
    "Remark",
    "Split",
    "Track",
    "default_index",
    "group_of",
    "holdout",
    "scan",
]
