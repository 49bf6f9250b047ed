import io

import pytest
import soundfile
from tests.cli import conftest as cli
from tests.server.studio import conftest as service

from sottovoce_server.studio.jobs import Made
from sottovoce_server.studio.schema import Kind

music = cli.music
HOSTILE = "<img src=x onerror=alert(1)>'&.wav"
STYLES = {
    "style": "reel",
    "probabilities": {"reel": 0.7, "tango": 0.2, "fugue": 0.1},
    "segments": [
        {"start": 0.0, "end": 4.0, "probabilities": {"reel": 0.9, "tango": 0.06, "fugue": 0.04}},
        {"start": 4.0, "end": 8.5, "probabilities": {"tango": 0.5, "reel": 0.4, "fugue": 0.1}},
    ],
}
MARKS = {
    "audio": {"format": "FLAC", "sample_rate": 22_050, "channels": 2, "frames": 220_500, "damaged": False},
    "credentials": {
        "state": "absent",
        "problems": [],
        "signer": None,
        "issuer": None,
        "source_type": None,
        "same_audio": None,
        "origin": None,
    },
    "tags": {"title": "<b>bold</b>"},
    "watermarks": [],
}


def worked(job, folder):
    """Results of each kind without a model."""
    if job.kind == Kind.CLASSIFICATION:
        return STYLES, [Made(8.5)]
    return (MARKS, [Made(10.0)]) if job.kind == Kind.INSPECTION else service.made_up(job, folder)


@pytest.fixture(scope="session")
def audio():
    """A WAV file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, cli.tone(1, 0.5), cli.RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def pages(studio):
    """A studio with results of each kind without a model."""
    studio.engine.work = worked
    return studio
