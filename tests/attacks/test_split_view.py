"""Promise: a coordinator cannot show two histories, nor take back what a label or consumer has seen.

The attack: the coordinator signs different agreements for two labels, returns to an agreement with weaker rules, or
publishes a release to one consumer only. Each signature was valid, and nobody noticed.
"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import Mock

import httpx
import numpy as np
import pytest

from sottovoce.errors import ConfigurationError, ReleaseError, SplitView
from sottovoce.features.extract import default_spec
from sottovoce.federation import merkle
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.federation.log import Evidence, Head, Log, LogMemory, agreement_entry, release_entry
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release import write as writing
from sottovoce.release.logged import check_logged, remember_agreement
from sottovoce.release.manifest import LOG_FILE
from sottovoce.release.pull import pull
from sottovoce.release.registry_client import RegistryClient
from sottovoce.release.seen_versions import Seen
from sottovoce.release.trusted_key import trusted_key, trusted_log
from sottovoce.release.versions import Reference
from sottovoce.release.write import Provenance
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_server.home.certificates import make_authority
from sottovoce_server.home.log_file import LogFile

LABELS = ("east", "north", "south", "west")
NAME = "isles-style"
MANIFEST = b'{"name": "isles-style"}'


@pytest.fixture
def coordinator():
    return Identity.generate()


class Table:
    """A coordinator that may have as many logs as it likes, and the label `east`, which has confirmed the others."""

    def __init__(self, root, coordinator):
        self.coordinator, self.root = coordinator, root
        self.home = LabelHome.create(root / "east", name="east")
        identities = {name: Identity.generate() for name in LABELS[1:]} | {"east": self.home.identity()}
        node_key = NodeKey.generate().public
        self.enrolments = [
            Enrolment.sign(identities[name], name=name, node_key=node_key, federation="isles") for name in LABELS
        ]
        members = tuple(each.member for each in self.enrolments)
        self.agreement = Agreement("isles", coordinator.public_key, members, n_min=3)
        confirm(self.home, self.home.identity(), "isles", members[1:])
        make_authority(root / "authority.key", root / "authority.pem")

    def signed(self, log, **rules):
        return Invitation.sign(
            self.coordinator,
            replace(self.agreement, **rules),
            self.enrolments,
            superlink="isles.example:9092",
            certificate=(self.root / "authority.pem").read_text(),
            log=lambda entry: log.append(entry, self.coordinator),
        )

    def pin(self, invitation):
        invitation.write(self.root / "federation.toml")
        return pin(self.home, self.root / "federation.toml", Policy())


@pytest.fixture
def table(tmp_path, coordinator):
    return Table(tmp_path, coordinator)


def test_agreements_that_follow_one_another_are_joined(table):
    """The control: one log, in which releases lie between two agreements."""
    log = Log()
    table.pin(table.signed(log))
    for number in range(5):
        log.append(release_entry(bytes([number]) * 32), table.coordinator)
    table.pin(table.signed(log, n_min=4))
    assert table.home.agreement().n_min == 4
    assert table.home.log_memory.newest(table.coordinator.public_key).head.size == 7
    table.pin(Invitation.read(table.home.invitation_file))  # `label join` without a file


def test_another_history_than_the_one_that_the_label_has_seen_is_refused(table):
    table.pin(table.signed(Log()))
    other = Log()
    for number in range(3):
        other.append(release_entry(bytes([number]) * 32), table.coordinator)
    with pytest.raises(ConfigurationError, match="signed two histories"):
        table.pin(table.signed(other, n_min=4))
    assert table.home.agreement().n_min == 3


def test_two_agreements_at_the_same_place_of_the_log_are_a_split_view(table):
    table.pin(table.signed(Log()))
    with pytest.raises(ConfigurationError, match="signed two histories"):
        table.pin(table.signed(Log(), n_min=4))


def test_an_agreement_that_was_replaced_does_not_come_back(table):
    log = Log()
    old = table.signed(log)
    table.pin(table.signed(log, n_min=4))
    with pytest.raises(ConfigurationError, match="older than one that this label has seen"):
        table.pin(old)


def test_an_agreement_that_was_replaced_does_not_come_back_under_a_newer_head_either(table):
    """The head of the log, signed anew, is as new as can be; the agreement's place in the log is not."""
    log = Log()
    old, newer = table.signed(log), table.signed(log, n_min=4)
    table.pin(newer)
    for _ in range(2):
        leaves = [merkle.leaf_hash(entry) for entry in log.entries]
        evidence = Evidence(
            Head.sign(table.coordinator, leaves),
            0,
            merkle.inclusion_proof(leaves, 0),
            tuple(merkle.consistency_proof(leaves, size) for size in range(1, len(leaves))),
        )
        with pytest.raises(ConfigurationError, match="older than one that this label has seen"):
            table.pin(replace(old, evidence=evidence))
        log.append(release_entry(bytes(32)), table.coordinator)
    assert table.home.agreement().n_min == 4


def test_a_coordinator_that_goes_back_to_earlier_rules_says_so_with_a_new_entry(table):
    log = Log()
    first = table.signed(log)
    table.pin(first)
    table.pin(table.signed(log, n_min=4))
    again = table.signed(log)
    assert (again.digest, again.evidence.index, len(log.entries)) == (first.digest, 2, 3)
    table.pin(again)
    assert table.signed(log).evidence.index == 2
    with pytest.raises(ConfigurationError, match="older than one that this label has seen"):
        table.pin(first)


def test_an_agreement_that_is_not_in_the_log_is_none(table):
    invitation = table.signed(Log())
    elsewhere = Log().append(agreement_entry(bytes(32), bytes(32)), table.coordinator)
    with pytest.raises(ConfigurationError, match="does not show that this is in the log"):
        replace(invitation, evidence=elsewhere)
    stranger = Log().append(agreement_entry(invitation.agreement.digest, invitation.digest), Identity.generate())
    with pytest.raises(ConfigurationError, match="another key than the coordinator's"):
        replace(invitation, evidence=stranger)


def test_a_forged_head_is_no_head(coordinator):
    head = Log().append(b"{}", coordinator).head
    for change in ({"size": 2}, {"root": bytes(32)}, {"key": Identity.generate().public_key}, {"size": 0}):
        with pytest.raises(ConfigurationError):
            replace(head, **change)
    assert isinstance(head, Head)


def test_a_release_that_only_one_consumer_is_shown_is_found_by_the_other(tmp_path, coordinator):
    """Both have seen the first release; then each is shown another second one."""
    first, second = release_entry(bytes(32)), release_entry(hashlib.sha256(MANIFEST).digest())
    ours, theirs = Log(), Log()
    memory = LogMemory(tmp_path / "state" / "logs-seen.json")
    memory.remember(ours.append(first, coordinator))
    theirs.append(first, coordinator)
    theirs.append(release_entry(b"\x02" * 32), coordinator)
    memory.remember(theirs.append(release_entry(b"\x03" * 32), coordinator))
    ours.append(second, coordinator).write(tmp_path / "log.json")
    with pytest.raises(SplitView, match="signed two histories") as caught:
        check_logged(MANIFEST, coordinator.public_key, Evidence.read(tmp_path / "log.json"), memory)
    assert "prove" in (caught.value.hint or "")


def test_an_older_release_is_in_order_once_a_newer_one_was_seen(tmp_path, coordinator):
    log, memory = Log(), LogMemory(tmp_path / "logs-seen.json")
    log.append(release_entry(hashlib.sha256(MANIFEST).digest()), coordinator).write(tmp_path / "log.json")
    memory.remember(log.append(release_entry(b"\x01" * 32), coordinator))
    found = check_logged(MANIFEST, coordinator.public_key, Evidence.read(tmp_path / "log.json"), memory)
    assert found is not None
    assert "size 1" in found
    assert memory.newest(coordinator.public_key).head.size == 2


def test_a_release_without_evidence_is_refused_by_who_knows_that_there_is_a_log(tmp_path, coordinator):
    memory = LogMemory(tmp_path / "logs-seen.json")
    assert check_logged(MANIFEST, coordinator.public_key, None, memory) is None
    memory.remember(Log().append(release_entry(bytes(32)), coordinator))
    with pytest.raises(ReleaseError, match="There is no proof that the release is in its coordinator's log"):
        check_logged(MANIFEST, coordinator.public_key, None, memory)


def test_evidence_of_another_release_is_none(tmp_path, coordinator):
    memory = LogMemory(tmp_path / "logs-seen.json")
    Log().append(release_entry(bytes(32)), coordinator).write(tmp_path / "log.json")
    with pytest.raises(ReleaseError, match="does not show that this is in the log"):
        check_logged(MANIFEST, coordinator.public_key, Evidence.read(tmp_path / "log.json"), memory)
    assert memory.newest(coordinator.public_key) is None


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"size": "1"}, {"inclusion": "ab"}, {"consistency": [["zz"]]}, {"more": 1}]
)
def test_damaged_evidence_gets_a_named_error(tmp_path, coordinator, change):
    values = Log().append(b"{}", coordinator).to_values() | change
    (tmp_path / "log.json").write_text(json.dumps(values))
    with pytest.raises(ConfigurationError):
        Evidence.read(tmp_path / "log.json")


def test_the_coordinators_log_lies_in_a_file_that_only_grows(tmp_path, coordinator):
    file = LogFile(tmp_path / "log.jsonl", coordinator)
    first = file.append(b'{"a":1}')
    second = LogFile(tmp_path / "log.jsonl", coordinator).append(b'{"b":2}')
    assert (first.head.size, second.head.size, second.index) == (1, 2, 1)
    assert second.extends(first.head)
    assert file.append(b'{"a":1}').head == second.head  # what is there is not added again
    (tmp_path / "log.jsonl").unlink()
    assert not file.append(b'{"b":2}').extends(first.head)


def test_a_registry_cannot_strip_the_evidence_from_holders_of_the_agreement(table, tmp_path):
    """The signed agreement shows that its coordinator keeps a log, so that a release without evidence is none of it.

    The key alone says nothing of a log: whoever had only that took a release that was made for them alone.
    """
    memory = LogMemory(tmp_path / "logs-seen.json")
    table.signed(Log()).write(tmp_path / "federation.toml")
    key = str(tmp_path / "federation.toml")
    assert trusted_log(table.coordinator.public_key.hex()) is None
    remember_agreement(trusted_log(key), memory)
    with pytest.raises(ReleaseError, match="There is no proof that the release is in its coordinator's log"):
        check_logged(MANIFEST, trusted_key(key), None, memory)
    elsewhere = Log().append(release_entry(hashlib.sha256(MANIFEST).digest()), table.coordinator)
    with pytest.raises(SplitView, match="signed two histories"):
        check_logged(MANIFEST, trusted_key(key), elsewhere, memory)


@pytest.fixture
def published(tmp_path, coordinator):
    """Makes a release of an hour of 2026 that lies in a log; its files by name."""
    members = tuple(Member(name, Identity.generate().public_key) for name in LABELS)
    config = configure_run(RunRequest(family="svm", rounds=2), classes=("blues", "waltz"), labels=len(LABELS))
    promises = [(config.epsilon, config.delta)] * len(LABELS)
    agreement = Agreement("isles", coordinator.public_key, members)
    provenance = Provenance(config, default_spec(), agreement, bytes(16), 2, promises, start="none", seeded=False)
    parameters = initial(discovery.family("style", "svm"), default_spec(), 2, 0).astype(np.float32)

    def make(hour, log):
        folder = tmp_path / f"release-{hour}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "datetime", Mock(now=lambda _: datetime(2026, 1, 1, hour, tzinfo=UTC)))
            writing.write(folder, provenance, parameters, coordinator, name=NAME, replace=True)
        raw = (folder / "manifest.json").read_bytes()
        evidence = log.append(release_entry(hashlib.sha256(raw).digest()), coordinator)
        return {path.name: path.read_bytes() for path in folder.iterdir()} | {LOG_FILE: evidence.to_bytes()}

    return make


def test_a_registry_shows_one_consumer_another_history_than_the_next(tmp_path, coordinator, published):
    """Coordinator and registry act together: each consumer pulls what is signed, and only one of the two logs is whole.

    Both have pulled the first release. The second one is in the log that one of them sees from then on, but not in the
    one that everybody else is shown.
    """
    common, aside = Log(), Log()
    first = published(1, common)
    aside.entries = [*common.entries, release_entry(bytes(32))]
    newer = published(2, common)
    hidden = newer | {LOG_FILE: published(2, aside)[LOG_FILE]}
    served = {"20260101T010000Z": first}

    def answer(request):
        *_, version, _, file = request.url.path.split("/") if "/files/" in request.url.path else ("", NAME, "", "")
        if version in served:
            return httpx.Response(200, stream=httpx.ByteStream(served[version][file]))
        releases = [{"version": each} for each in sorted(served, reverse=True)]
        shown = {"name": NAME, "visibility": "public", "newest": releases[0]["version"], "releases": releases}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(shown).encode()))

    consumers = [tmp_path / "one", tmp_path / "two"]

    def fetch(consumer):
        with RegistryClient("http://registry.example", transport=httpx.MockTransport(answer)) as client:
            return pull(
                client,
                Reference.parse(NAME),
                coordinator.public_key,
                consumer / "model",
                seen=Seen(consumer / "seen.json"),
                memory=LogMemory(consumer / "logs-seen.json"),
            )

    for consumer in consumers:
        assert "size 1" in fetch(consumer).logged
    served["20260101T020000Z"] = hidden
    assert "size 3" in fetch(consumers[0]).logged
    served["20260101T020000Z"] = newer
    assert "size 2" in fetch(consumers[1]).logged
    served["20260101T030000Z"] = published(3, common)
    assert "size 3" in fetch(consumers[1]).logged
    with pytest.raises(SplitView, match="two histories"):
        fetch(consumers[0])
