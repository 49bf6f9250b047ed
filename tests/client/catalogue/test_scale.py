"""What 100,000 files would cost, on a fiftieth of them and with reading replaced: walking, remembering, deciding."""

import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest

from sottovoce_client.catalogue import scan, scanning
from sottovoce_client.catalogue.embedded_tags import Tags
from sottovoce_client.catalogue.file_facts import Facts

FILES = 2_000


@pytest.fixture
def many(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in range(100):
        below = root / f"style {folder % 7}" / f"artist {folder}"
        below.mkdir(parents=True)
        for number in range(FILES // 100):
            (below / f"{number}.flac").touch()

    def read(path: Path) -> Facts:
        digest = sha256(bytes(path)).hexdigest()
        return Facts(digest, digest, 200.0, tags=Tags(path.stem, path.parent.name, "an album", "a genre"))

    monkeypatch.setattr(scanning, "examine", read)
    return root


@pytest.mark.slow
def test_memory_grows_by_little_a_file(many: Path, index: Path, tmp_path: Path) -> None:
    scan(next(many.iterdir()), index=tmp_path / "other.sqlite", workers=1)  # imports what it uses
    tracemalloc.start()
    try:
        catalogue = scan(many, index=index, workers=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(catalogue.tracks) == FILES
    assert peak / FILES < 5_000  # bytes: half a gigabyte for 100,000 files


@pytest.mark.slow
def test_a_second_scan_opens_nothing_and_does_little_a_file(many: Path, index: Path, calls) -> None:
    scan(many, index=index, workers=1)
    with calls() as counted:
        assert scan(many, index=index, workers=1).opened == 0
    assert counted.total() / FILES < 200  # calls: 3.5 s for 100,000 files where this was written
