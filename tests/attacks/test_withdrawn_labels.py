"""Promise: a label takes part only among others that its people know, whichever members the agreement names.

The attacks: the coordinator hands a confirmation in again that was withdrawn; it leaves out of the agreement those
whose voices would outweigh two colluding labels, so that these two vouch for as many as it invents; it fills the
victim's home with counter-signatures until nothing in it can be read any more.
"""

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation import confirmation, invitation
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.confirmation import Confirmation, confirmed_members
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.federation.log import Log
from sottovoce_client.home.confirmations import confirm, confirmed_by, withdraw
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_server.home.certificates import make_authority

FEDERATION = "isles"
REAL = tuple(f"real-{number}" for number in range(5))


class Victim:
    """A label that has confirmed five others, and a coordinator with two of them at its side."""

    def __init__(self, root):
        self.root, self.coordinator, self.log = root, Identity.generate(), Log()
        self.home = LabelHome.create(root / "home", name="victim")
        self.identities = {name: Identity.generate() for name in REAL} | {"victim": self.home.identity()}
        self.node_key = NodeKey.generate().public
        make_authority(root / "authority.key", root / "authority.pem")
        confirm(self.home, self.home.identity(), FEDERATION, [self.enrolment(name).member for name in REAL])

    def enrolment(self, name):
        return Enrolment.sign(self.identities[name], name=name, node_key=self.node_key, federation=FEDERATION)

    def invent(self, number, prefix="invented"):
        names = [f"{prefix}-{each}" for each in range(number)]
        self.identities |= {name: Identity.generate() for name in names}
        return names

    def agreement(self, names):
        members = tuple(self.enrolment(name).member for name in sorted(names))
        return Agreement(FEDERATION, self.coordinator.public_key, members)

    def word(self, by, name):
        member = self.enrolment(name).member
        return Confirmation.sign(self.identities[by], federation=FEDERATION, by=by, member=member)

    def pin(self, names, confirmations=()):
        Invitation.sign(
            self.coordinator,
            self.agreement(names),
            [self.enrolment(name) for name in sorted(names)],
            superlink="isles.example:9092",
            certificate=(self.root / "authority.pem").read_text(),
            confirmations=confirmation.merged(confirmations),
            log=lambda entry: self.log.append(entry, self.coordinator),
        ).write(self.root / "federation.toml")
        return pin(self.home, self.root / "federation.toml", Policy())


@pytest.fixture
def victim(tmp_path):
    return Victim(tmp_path)


def test_two_of_five_confirmed_labels_vouch_for_nobody_when_the_others_are_left_out_of_the_agreement(victim):
    invented = victim.invent(7)
    words = [victim.word(by, name) for by in REAL[:2] for name in invented]
    assert set(confirmed_by(victim.home, victim.agreement(["victim", *REAL, *invented]), words)) == set(REAL)
    alone = ["victim", *REAL[:2], *invented]  # ten, of which nine are the coordinator's
    assert set(confirmed_by(victim.home, victim.agreement(alone), words)) == set(REAL[:2])
    with pytest.raises(ConfigurationError, match="2 of the other labels are confirmed, but 6 must be"):
        victim.pin(alone, words)


def test_three_of_five_still_vouch(victim):
    """The control: most of those that the label has confirmed."""
    (new,) = victim.invent(1, "new")
    words = [victim.word(by, new) for by in REAL[:3]]
    assert new in confirmed_by(victim.home, victim.agreement(["victim", *REAL[:3], new]), words)


def test_a_withdrawn_confirmation_that_is_handed_in_again_counts_for_nothing(victim):
    everybody = ["victim", *REAL]
    words = [victim.word(by, name) for by in everybody for name in everybody if by != name]
    victim.pin(everybody, words)
    gone = [victim.enrolment(name).member for name in REAL[:2]]
    assert OpenedHome.of(victim.home).knows_enough_of(everybody)
    withdraw(victim.home, victim.home.identity(), FEDERATION, gone)
    assert not OpenedHome.of(victim.home).knows_enough_of(everybody)
    assert set(confirmed_by(victim.home, victim.agreement(everybody), words)) == set(REAL[2:])
    with pytest.raises(ConfigurationError, match="3 of the other labels are confirmed, but 4 must be"):
        victim.pin(everybody, words)


def test_whom_a_withdrawn_label_vouches_for_is_vouched_for_by_one_less(victim):
    (new,) = victim.invent(1, "new")
    agreement = victim.agreement(["victim", *REAL, new])
    words = [victim.word(by, new) for by in REAL[:3]]
    assert new in confirmed_by(victim.home, agreement, words)
    withdraw(victim.home, victim.home.identity(), FEDERATION, [victim.enrolment(REAL[0]).member])
    assert new not in confirmed_members(
        agreement, "victim", [*confirmation.read_confirmations(victim.home.confirmations_file), *words[:2]]
    )


def test_agreements_full_of_confirmations_leave_a_home_that_can_be_read(victim, monkeypatch):
    """What was written by one agreement after the other could at last not be read again, and every answer failed.

    Both limits are scaled down alike, so that the test makes hundreds of signatures and not hundreds of thousands.
    """
    for module in (confirmation, invitation):
        monkeypatch.setattr(module, "LARGEST_FILE", module.LARGEST_FILE // 500)
    for wave in range(8):
        invented = victim.invent(2, f"wave{wave}")
        everybody = ["victim", *REAL, *invented]
        victim.pin(everybody, [victim.word(by, name) for by in invented for name in everybody if by != name])
        assert OpenedHome.of(victim.home).knows_enough_of(everybody)
    kept = confirmation.read_confirmations(victim.home.confirmations_file)
    assert {each.by for each in kept} == {"victim", *invented}
