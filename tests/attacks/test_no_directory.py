"""Promise: the coordinator is not the key directory. It can neither invent a member nor change one.

The attack: the coordinator signs an agreement between one label and nine invented ones, and announces a run. The label
reports; the other nine reports are the coordinator's own, so the sum reveals the label's update. Labels accepted that,
since they checked only the coordinator's signature of the agreement.
"""

from dataclasses import replace

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.confirmation import Confirmation, confirmed_members
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import Advert, Announcement, Refusal, decode
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_server.home.certificates import make_authority

VICTIM, FEDERATION = "victim", "isles"
INVENTED = tuple(f"label-{number}" for number in range(9))


class Conspiracy:
    """A coordinator with a label, and as many labels as it likes to invent."""

    def __init__(self, root):
        (root / "music").mkdir()
        self.home = LabelHome.create(
            root / "home", name=VICTIM, catalogues=[root / "music"], policy="declared_tracks = 100\n"
        )
        self.coordinator, self.root = Identity.generate(), root
        self.identities = {name: Identity.generate() for name in INVENTED} | {VICTIM: self.home.identity()}
        make_authority(root / "authority.key", root / "authority.pem")

    def invitation(self, confirmations=(), federation=FEDERATION):
        node_key = NodeKey.generate().public
        enrolments = [
            Enrolment.sign(self.identities[name], name=name, node_key=node_key, federation=federation)
            for name in sorted(self.identities)
        ]
        members = tuple(each.member for each in enrolments)
        agreement = Agreement(federation, self.coordinator.public_key, members)
        return Invitation.sign(
            self.coordinator,
            agreement,
            enrolments,
            superlink="isles.example:9092",
            certificate=(self.root / "authority.pem").read_text(),
            confirmations=confirmations,
        )

    def confirmation(self, by, name):
        member = next(each for each in self.invitation().agreement.members if each.name == name)
        return Confirmation.sign(self.identities[by], federation=FEDERATION, by=by, member=member)

    def confirm(self, *names):
        """What the victim's people do after calling these labels."""
        members = [each for each in self.invitation().agreement.members if each.name in names]
        confirm(self.home, self.home.identity(), FEDERATION, members)

    def pin(self, invitation):
        invitation.write(self.root / "federation.toml")
        return pin(self.home, self.root / "federation.toml", Policy.from_toml(self.home.policy_file))

    def announced(self, agreement):
        """What the victim's own code answers to a run under an agreement in its home."""
        agreement.write(self.home.agreement_file)
        announcement = Announcement.of(agreement, a_run(len(agreement.members)))
        return decode(Label.open(self.home.root).answer(announcement.encode(), None))


def a_run(labels: int) -> RunConfiguration:
    return configure_run(RunRequest(family="svm", rounds=2, epsilon=2.0), classes=("blues", "waltz"), labels=labels)


@pytest.fixture
def conspiracy(tmp_path):
    return Conspiracy(tmp_path)


def test_an_agreement_with_nine_invented_labels_is_not_joined(conspiracy):
    with pytest.raises(ConfigurationError, match="0 of the other labels are confirmed, but 6 must be"):
        conspiracy.pin(conspiracy.invitation())


def test_a_run_with_nine_invented_labels_is_refused_whatever_lies_in_the_home(conspiracy):
    answer = conspiracy.announced(conspiracy.invitation().agreement)
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.UNCONFIRMED


def test_labels_that_its_people_have_confirmed_are_joined(conspiracy):
    """The control: the same label and agreement, after six telephone calls."""
    conspiracy.confirm(*INVENTED[:6])
    invitation = conspiracy.pin(conspiracy.invitation())
    assert isinstance(conspiracy.announced(invitation.agreement), Advert)


def test_five_confirmed_of_ten_are_not_enough(conspiracy):
    """Four invented ones of ten are a third: with as many, one label can be unmasked both as alive and as dropped."""
    conspiracy.confirm(*INVENTED[:5])
    assert isinstance(conspiracy.announced(conspiracy.invitation().agreement), Refusal)


def test_invented_labels_that_counter_sign_one_another_count_for_nothing(conspiracy):
    pairs = [(by, name) for by in INVENTED for name in (*INVENTED, VICTIM) if by != name]
    with pytest.raises(ConfigurationError, match="0 of the other labels are confirmed"):
        conspiracy.pin(conspiracy.invitation([conspiracy.confirmation(*pair) for pair in pairs]))


def test_one_real_label_that_colludes_vouches_for_nobody(conspiracy):
    conspiracy.confirm(INVENTED[0])
    vouched = [conspiracy.confirmation(INVENTED[0], name) for name in INVENTED[1:]]
    with pytest.raises(ConfigurationError, match="1 of the other labels are confirmed"):
        conspiracy.pin(conspiracy.invitation(vouched))


def test_most_of_the_confirmed_labels_vouch_for_others_and_those_for_nobody(conspiracy):
    conspiracy.confirm(*INVENTED[:3])
    agreement = conspiracy.invitation().agreement
    own = [
        Confirmation.sign(conspiracy.identities[VICTIM], federation=FEDERATION, by=VICTIM, member=member)
        for member in agreement.members
        if member.name in INVENTED[:3]
    ]
    by_two = [conspiracy.confirmation(by, INVENTED[3]) for by in INVENTED[:2]]
    further = [conspiracy.confirmation(INVENTED[3], name) for name in INVENTED[4:]]
    further += [conspiracy.confirmation(INVENTED[0], INVENTED[4])]
    found = confirmed_members(agreement, VICTIM, [*own, *by_two, *further])
    assert set(found) == set(INVENTED[:4])
    assert found[INVENTED[3]] == frozenset(INVENTED[:2])


def test_a_confirmation_does_not_hold_for_another_key_under_the_same_name(conspiracy):
    conspiracy.confirm(*INVENTED[:6])
    for name in INVENTED[:4]:
        conspiracy.identities[name] = Identity.generate()
    with pytest.raises(ConfigurationError, match="2 of the other labels are confirmed"):
        conspiracy.pin(conspiracy.invitation())


def test_the_coordinator_cannot_alter_what_a_member_enrolled_with(conspiracy):
    invitation = conspiracy.invitation()
    first = invitation.enrolments[0]
    with pytest.raises(ConfigurationError, match="not signed by the identity key"):
        replace(first, node_key=NodeKey.generate().public)
    with pytest.raises(ConfigurationError, match="not signed by the identity key"):
        replace(first, name="another")
    mine = Enrolment.sign(Identity.generate(), name=first.name, node_key=first.node_key, federation=FEDERATION)
    with pytest.raises(ConfigurationError, match="differ from the enrolments"):
        Invitation.sign(
            conspiracy.coordinator,
            invitation.agreement,
            [mine, *invitation.enrolments[1:]],
            superlink=invitation.superlink,
            certificate=invitation.certificate,
        )


def test_an_enrolment_is_good_for_the_federation_that_it_names_only(conspiracy):
    invitation = conspiracy.invitation(federation="another")
    with pytest.raises(ConfigurationError, match="has enrolled in the federation 'another'"):
        Invitation.sign(
            conspiracy.coordinator,
            replace(invitation.agreement, federation=FEDERATION),
            invitation.enrolments,
            superlink=invitation.superlink,
            certificate=invitation.certificate,
        )


def test_a_round_of_the_unconfirmed_members_is_none_for_this_label(conspiracy):
    """Enough are confirmed in the agreement, but the coordinator forms a round of the others."""
    conspiracy.confirm(*INVENTED[:6])
    assert isinstance(conspiracy.announced(conspiracy.invitation().agreement), Advert)
    opened = OpenedHome.of(conspiracy.home)
    assert opened.knows_enough_of([VICTIM, *INVENTED])
    assert opened.knows_enough_of([VICTIM, *INVENTED[:2], INVENTED[6]])
    assert not opened.knows_enough_of([VICTIM, INVENTED[0], *INVENTED[6:]])
