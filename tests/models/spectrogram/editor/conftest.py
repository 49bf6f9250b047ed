import pytest

from sottovoce.features.extract import default_spec
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models import discovery


@pytest.fixture(scope="session")
def spec():
    """A spectrogram small enough to train on in milliseconds."""
    return FeatureSpec(version=default_spec(View.SPECTROGRAM).version, n_mels=32, n_fft=512, segment_seconds=0.75)


@pytest.fixture(params=discovery.families("editor"))
def family(request):
    return discovery.family("editor", request.param)
