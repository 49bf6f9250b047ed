"""A label's state is on the disk, under its name, before the answer that depends on it leaves."""

import os
import stat

from sottovoce.files import write_bytes


def test_a_new_state_is_flushed_and_so_is_the_folder_that_names_it(tmp_path, monkeypatch):
    """Flushing the file alone leaves the old name in place after a power cut, and with it the older state."""
    steps: list[str] = []
    flush = os.fsync

    def watched(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        steps.append(f"{'folder' if is_folder else 'file'}, {(tmp_path / 'state').exists()}")
        flush(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(tmp_path / "state", b"new", mode=0o600)
    assert steps == ["file, False", "folder, True"]
