import os
import signal

import numpy as np
import pytest

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.features.extract import Features
from sottovoce.features.spec import View
from sottovoce_client.data import parallel_extraction


def _deadly(path, file_digest, spec):
    """Replaces a decoder with a bug: one file kills the process that reads it."""
    if "deadly" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return Features(
        {View.SUMMARY: np.zeros((1, 2), dtype=np.float32), View.LOG_MEL: np.zeros((1, 2, 2), dtype=np.float16)}
    )


@pytest.mark.slow
def test_a_file_that_kills_its_decoder_costs_that_file_only(monkeypatch, tmp_path, source, spec):
    context = parallel_extraction.get_context("fork")
    monkeypatch.setattr(parallel_extraction, "get_context", lambda method: context)
    monkeypatch.setattr(parallel_extraction, "_outcome", _deadly)
    sources = []
    for number in range(80):
        path = tmp_path / f"{'deadly' if number in (5, 41) else 'good'}-{number}.wav"
        path.write_bytes(bytes([number]))
        sources.append(source(path))
    outcomes = {each.path.name: outcome for each, outcome in parallel_extraction.extract_all(sources, spec, 2)}
    assert len(outcomes) == 80
    unusable = {name for name, outcome in outcomes.items() if outcome is RejectReason.CORRUPT}
    assert unusable == {"deadly-5.wav", "deadly-41.wav"}


def test_few_files_start_no_process(monkeypatch, write, music, source, spec):
    monkeypatch.setattr(parallel_extraction, "_pool", lambda workers: pytest.fail("a process was started"))
    monkeypatch.setattr(parallel_extraction, "_cores", lambda: 2)
    monkeypatch.setattr(parallel_extraction, "WORTH_PROCESSES", 4)
    tracks = [source(write(music(4.5, 22_050, seed=seed), f"{seed}.wav", rate=22_050)) for seed in range(3)]
    assert len(list(parallel_extraction.extract_all(tracks, spec))) == 3
    assert len(list(parallel_extraction.extract_all(tracks * 2, spec, 1))) == 6
