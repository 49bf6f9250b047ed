import pytest

from sottovoce.models import discovery


@pytest.fixture(params=discovery.families("generator"))
def family(request):
    return discovery.family("generator", request.param)
