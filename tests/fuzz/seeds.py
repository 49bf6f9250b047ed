"""Valid input of each target, made by the code itself. `python -m tests.fuzz --seeds` adds it to the corpora."""

import csv
import gzip
import hashlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import mutagen
import numpy as np
import soundfile
from mutagen.id3 import TIT2, TXXX
from tests.faults.test_bad_files import bundle, certificate
from tests.fuzz.known import IDENTITY, PARAMETERS, RUN, configuration
from tests.fuzz.targets import RING
from tests.protocol.test_codec import spoken

from sottovoce.features.normalisation import shipped
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.confirmation import Confirmation, write_confirmations
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.fingerprint import as_words, fingerprint
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.release.cosigning import Cosignature, CosignRequest
from sottovoce.release.manifest import MANIFEST_FILE, SIGNATURE_FILE
from sottovoce.release.write import Provenance, write
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.backup.archive import write_backup
from sottovoce_client.catalogue.sheet import COLUMNS
from sottovoce_client.home.diary import Diary
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey
from sottovoce_client.home.policy import Policy
from sottovoce_client.home.policy_template import policy_text
from sottovoce_server.home.journal import Journal
from sottovoce_server.rounds.checkpoint import Snapshot
from sottovoce_server.rounds.history import RoundRecord, RunHistory
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

CONFIGURATIONS = [
    configuration(),
    configuration(server_optimizer="fedavg", ring_bits=32),
    configuration(distributed=DistributedNoise(3, 1.0, 0.5, clip_quantile=0.5)),
    configuration(distributed=DistributedNoise(3, 1.0, 1.0), unit=Unit.LABEL),
    configuration(distributed=DistributedNoise(3, 1.0, 1.0, banded=BandedFactorisation(4, (64, 32, 21)))),
]


def made(folder: Path) -> dict[str, list[bytes]]:
    """The seeds of every target.

    Args:
        folder: an empty folder for files that are made on the way.
    """
    return {
        "message": [bytes(message.encode()) for message in spoken()],
        "configuration": [config.to_bytes() for config in CONFIGURATIONS],
        "round_sum": [_sum().to_bytes(RING), RoundSum.aborted(1, RING).to_bytes(RING)],
        "saved_state": _saved_states(),
        "global_model": [_model().to_bytes()[:-4]],
        **_federation(folder),
        **_release(folder),
        "reference": [b"isles-style-svm", b"isles-style-svm@20250131T120000Z"],
        "bundle": [bundle()],
        "policy": [policy_text(Policy()).encode()],
        "sheet": [_sheet()],
        "diary": [_diary(folder / "diary.jsonl")],
        "journal": [_journal(folder / "journal.jsonl")],
        "checkpoint": [_snapshot().to_bytes()],
        "backup": [_backup(folder)],
        "tags": _tagged(folder),
    }


def _sum() -> RoundSum:
    layout = VectorLayout.for_round(configuration(), Kind.TRAIN, PARAMETERS.size, 0, 3)
    middle = ((1 << layout.value_bits) - 2) // 2  # what a label sends for a coordinate that it leaves alone
    return RoundSum(1, 3, 3, np.full(PARAMETERS.size, 3 * middle, RING.dtype))


def _model() -> GlobalModel:
    trainable = np.ones(PARAMETERS.size, dtype=np.bool_)
    model = GlobalModel.start(configuration(), run=RUN, labels=3, trainable=trainable, first=PARAMETERS)
    model.follow(_sum())
    return model


def _saved_states() -> list[bytes]:
    """A label's state at each stage of a run's set-up, and within a round; without their checksums."""
    table = InMemoryRounds(3, ring_bits=16)
    states: list[bytes] = []

    def note() -> None:
        states.append(table.participants["label-000"].to_bytes()[: -hashlib.sha256().digest_size])

    table.advertise()
    note()
    for step in (table.aggregator.fix_members, table.aggregator.close_reveals, table.aggregator.close_ciphertexts):
        table._answer(step())
        note()
    request = table.request(1, 5)
    table.report(request, {label: np.zeros(5, np.uint16) for label in table.participants})
    note()
    return states


def _federation(folder: Path) -> dict[str, list[bytes]]:
    labels = {name: (Identity.generate(), NodeKey.generate()) for name in ("east", "north", "south")}
    members = tuple(Member(name, identity.public_key) for name, (identity, _) in labels.items())
    agreement = Agreement("isles", IDENTITY.public_key, members)
    enrolments = [
        Enrolment.sign(identity, name=name, node_key=node.public, federation="isles")
        for name, (identity, node) in labels.items()
    ]
    confirmations = [
        Confirmation.sign(identity, federation="isles", by=name, member=member)
        for name, (identity, _) in labels.items()
        for member in members
        if member.name != name
    ]
    invitation = Invitation.sign(
        IDENTITY,
        agreement,
        enrolments,
        confirmations=confirmations,
        superlink="127.0.0.1:9092",
        certificate=certificate(),
    )
    invitation.write(folder / "federation.toml")
    enrolments[0].write(folder / "enrolment.json")
    write_confirmations(folder / "confirmations.json", confirmations[:2])
    return {
        "enrolment": [(folder / "enrolment.json").read_bytes()],
        "invitation": [(folder / "federation.toml").read_bytes()],
        "confirmations": [(folder / "confirmations.json").read_bytes()],
        "evidence": [invitation.evidence.to_bytes()],
        "fingerprint": [as_words(fingerprint("east", members[0].public_key)).encode()],
    }


def _release(folder: Path) -> dict[str, list[bytes]]:
    agreement = Agreement(
        "isles", IDENTITY.public_key, tuple(Member(name, Identity.generate().public_key) for name in ("a", "b", "c"))
    )
    spec, family = discovery.spec_of("style", "svm"), discovery.family("style", "svm")
    config = configuration(feature_spec=spec.digest)
    provenance = Provenance(config, spec, agreement, RUN, 3, ((8.0, 1e-5),) * 3, "none", seeded=False)
    write(folder / "release", provenance, initial(family, spec, len(config.classes), 0), IDENTITY, name="isles")
    manifest = (folder / "release" / MANIFEST_FILE).read_bytes()
    signature = (folder / "release" / SIGNATURE_FILE).read_bytes()
    return {
        "manifest": [manifest],
        "signatures": [signature],
        "cosign_request": [CosignRequest(RUN, manifest, (1, 2)).to_bytes()],
        "cosignature": [Cosignature(RUN, "east", bytes(64)).to_bytes()],
        "normalisation": [shipped().to_bytes()],
    }


def _sheet() -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerow(("a.wav", "blues", "First", "One", "Album", "GBAYE0601498", "style"))
    writer.writerow(("folder/b.wav", "techno", "", "", "", "", ""))
    return text.getvalue().encode()


def _diary(file: Path) -> bytes:
    diary = Diary(file)
    diary.round_declined(RUN, 1, "policy")
    diary.left_out(RUN, 2, ["east"])
    diary.followed(RUN, weights="0" * 64)
    diary.closed(RUN, why="by hand")
    return file.read_bytes()


def _journal(file: Path) -> bytes:
    journal = Journal(file, IDENTITY)
    journal.append("enrolment", {"label": "east"})
    journal.append("round", {"number": 1, "survivors": ["east"]})
    return file.read_bytes()


def _snapshot() -> Snapshot:
    names = ("east", "north", "south")
    record = RoundRecord(1, names, names, 0, 1000.0, 1.0)
    history = RunHistory(rounds=[record], metrics={1: {"macro_f1": 0.5}})
    return Snapshot(_model().to_bytes(), (b"setup",), dict.fromkeys(names, 1), dict.fromkeys(names, 1), history)


def _backup(folder: Path) -> bytes:
    home = LabelHome.create(folder / "east", name="east")
    write_backup(home, folder / "backup.tar.gz")
    return gzip.decompress((folder / "backup.tar.gz").read_bytes())


def _tagged(folder: Path) -> list[bytes]:
    found = []
    for suffix in ("wav", "flac", "ogg", "aiff"):
        path = folder / f"audio.{suffix}"
        soundfile.write(path, np.zeros(64), 8000)
        file = mutagen.File(path)
        if file.tags is None:
            file.add_tags()
        if suffix in ("wav", "aiff"):
            file.tags.add(TIT2(text="A title"))
            file.tags.add(TXXX(desc="DIGITALSOURCETYPE", text="trainedAlgorithmicMedia"))
        else:
            file.tags["TITLE"] = "A title"
        file.save()
        found.append(path.read_bytes())
    return found


def seeds() -> dict[str, list[bytes]]:
    """Valid input of each target by its name."""
    with TemporaryDirectory() as folder:
        return made(Path(folder))
