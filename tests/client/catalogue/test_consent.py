from datetime import date

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue import DEFAULT_CONSENT, Consent, Purpose

LAST_DAY = date(2027, 1, 31)


@pytest.mark.parametrize(
    ("text", "grants"),
    [
        ("style", {Purpose.STYLE: None}),
        ("style; generator until 2027-01-31", {Purpose.STYLE: None, Purpose.GENERATOR: LAST_DAY}),
        (" Editor ,STYLE;", {Purpose.STYLE: None, Purpose.EDITOR: None}),
        ("generator  until\t2027-01-31", {Purpose.GENERATOR: LAST_DAY}),
        ("none", {}),
        (" None ", {}),
    ],
)
def test_a_consent_is_read(text: str, grants: dict[Purpose, date | None]) -> None:
    consent = Consent.parse(text)
    assert dict(consent.grants) == grants
    assert Consent.parse(str(consent)) == consent


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stlye", "A consent says 'stlye'; expected style, generator, editor or none"),
        ("style until", "A consent says 'style until'"),
        ("style for ever", "A consent says 'style for ever'"),
        ("style; none", "A consent says 'none'"),
        ("style until 2027-02-30", "ends on '2027-02-30', which is not a date"),
        ("style until 31.1.2027", "ends on '31.1.2027', which is not a date"),
        ("style until 20270131", "ends on '20270131', which is not a date"),
        ("style; style until 2027-01-31", "names 'style' twice"),
        ("", "lists no purpose; write 'none'"),
        (" ; ", "lists no purpose"),
    ],
)
def test_what_is_no_consent_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Consent.parse(text)
    assert message in caught.value.message


def test_the_last_day_counts_and_the_next_one_does_not() -> None:
    consent = Consent.parse("generator until 2027-01-31")
    assert consent.allows(Purpose.GENERATOR, LAST_DAY)
    assert not consent.allows(Purpose.GENERATOR, date(2027, 2, 1))
    assert not consent.allows(Purpose.STYLE, LAST_DAY)


def test_the_default_serves_recognition_only() -> None:
    assert [purpose for purpose in Purpose if DEFAULT_CONSENT.allows(purpose, LAST_DAY)] == [Purpose.STYLE]


def test_purposes_out_of_order_are_no_consent() -> None:
    with pytest.raises(ConfigurationError, match="in order, each once"):
        Consent(((Purpose.STYLE, None), (Purpose.EDITOR, None)))
