"""Validation of adverts, identical at the coordinator and at every label."""

from collections.abc import Mapping

from sottovoce.federation.agreement import Agreement
from sottovoce.protocol.keys import check_encapsulation_key, check_public_key
from sottovoce.protocol.messages import Advert, Refusal, Versions
from sottovoce.protocol.violations import BadSignature, ConfigurationChanged, UnknownLabel, WrongAgreement, WrongRun

Roster = Mapping[str, bytes]


def roster_of(agreement: Agreement) -> Roster:
    """Each label's pinned identity key."""
    return {member.name: member.public_key for member in agreement.members}


def check_origin(message: Advert | Refusal | Versions, *, run: bytes, agreement: bytes, roster: Roster) -> None:
    """Refuse an answer to an announcement that is not a known label's answer to this announcement.

    Raises:
        WrongRun, WrongAgreement, UnknownLabel, BadSignature: as their names say.
    """
    if message.run != run:
        raise WrongRun(f"The {type(message).__name__.lower()} of '{message.label}' belongs to another run.")
    if message.agreement != agreement:
        raise WrongAgreement(f"'{message.label}' answers under another agreement.")
    if message.label not in roster:
        raise UnknownLabel(f"The agreement does not name a label '{message.label}'.")
    if not message.is_signed_by(roster[message.label]):
        raise BadSignature(f"The {type(message).__name__.lower()} of '{message.label}' is not signed by that label.")


def check_advert(advert: Advert, *, run: bytes, agreement: bytes, config_digest: bytes, roster: Roster) -> None:
    """Refuse an advert that is not a known label's for this run and configuration.

    Raises:
        ConfigurationChanged: it signs another configuration.
        BadKey: one of its keys is invalid.
        WrongRun, WrongAgreement, UnknownLabel, BadSignature: as their names say.
    """
    check_origin(advert, run=run, agreement=agreement, roster=roster)
    if advert.config_digest != config_digest:
        raise ConfigurationChanged(
            f"The advert of '{advert.label}' signs another configuration than the announced one."
        )
    check_public_key(advert.public_key)
    check_encapsulation_key(advert.encapsulation_key)
