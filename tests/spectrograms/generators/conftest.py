import pytest

from sottovoce.models import registry


@pytest.fixture(params=registry.families("generator"))
def family(request):
    return registry.family("generator", request.param)
