"""One audit: samples of a release, and excerpts to calibrate by, compared with every track that was trained on."""

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sottovoce.errors import CatalogueError, PrivacyError
from sottovoce.release.load import Release
from sottovoce_client.catalogue import Progress, Track, holdout
from sottovoce_client.catalogue.holdout import HELD_OUT_SHARE, Split, group_of
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.copy_audit.comparison import NOWHERE, SHORT, Closest
from sottovoce_client.copy_audit.excerpt import Excerpt, excerpts
from sottovoce_client.copy_audit.samples import SECONDS, Sample, samples
from sottovoce_client.copy_audit.sketch import COLUMN_RATE, Sketch
from sottovoce_client.copy_audit.sketch_cache import SketchStore
from sottovoce_client.copy_audit.thresholds import Bounds, bounds, expect_enough
from sottovoce_client.data.preparation import usable_tracks
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

MOST_TRACKS = 256
"""To calibrate by, drawn at random where there are more."""

Stages = Callable[[str], AbstractContextManager[Progress | None]]
"""Opened for each stage of an audit by its name, such as `sottovoce_client.commands.label.common.bar`."""


class CopiesFound(PrivacyError):
    """A release makes music that is too close to this label's own."""


@dataclass(frozen=True)
class Match:
    """For the label's own people: a sample that is too close to one of their tracks."""

    sample: Sample
    track: Path


@dataclass(frozen=True)
class Findings:
    """What an audit has found, for the label's own people. Of all this, only `passed` may leave.

    Args:
        samples: that were made.
        copied: samples of which a part is too close to a track.
        tracks: that were trained on, and compared with.
        bounds: what was too close, and what says so.
        matches: each copied sample and what it is closest to.
    """

    samples: int
    copied: int
    tracks: int
    bounds: Bounds
    matches: tuple[Match, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was copied."""
        return not self.copied


def audit(
    home: LabelHome,
    release: Release,
    policy: Policy,
    *,
    workers: int | None = None,
    stage: Stages = lambda _: nullcontext(None),
) -> Findings:
    """Audit a release.

    Args:
        home: the label's.
        release: loaded, and thereby checked.
        policy: how many samples, and how seldom a false alarm.
        workers: processes that compute sketches.
        stage: shows progress.

    Raises:
        ReleaseError: the release is of a task that makes nothing, or makes no sound.
        CatalogueError: there is nothing to compare with, or too little to calibrate by.
    """
    release.expect_task(*TASKS)
    with stage("reading") as progress:
        split = tracks_of(home, release, workers=workers, progress=progress)
    store = SketchStore(home.cache)
    with stage("indexing") as progress:
        store.fill((*split.train, *split.held_out), workers=workers, progress=progress)
    calibrating, of_track, groups = _to_calibrate_by(store, split)
    expect_enough(len(set(of_track)))
    made: list[Sample] = []
    tested: list[Excerpt] = []
    of: list[int] = []
    with stage("making samples") as progress:
        for number, (sample, sketched) in enumerate(samples(release, policy.audit_samples, progress or _silence)):
            made.append(sample)
            found = list(excerpts(sketched))
            tested += found
            of += [number] * len(found)
    compared, seen = Closest([*tested, *calibrating], [*[None] * len(tested), *groups]), []
    with stage("comparing") as progress:
        for number, (track, sketched) in enumerate(store.load(split.train)):
            compared.look_at(number, sketched, group_of(track))
            seen.append(track)
            (progress or _silence)(number + 1, len(split.train))
    if not seen:
        raise CatalogueError("No track that was trained on can be read any more.")
    end = len(tested)
    known = (compared.near[SHORT, end:] != NOWHERE).nonzero()[0]  # not: where everything is by one artist
    scores = compared.scores[:, :end]
    limits = bounds(
        compared.scores[:, end:][:, known],
        np.array(of_track)[known],
        tested=scores,
        false_alarms=policy.audit_false_alarms,
    )
    closeness = limits.closeness(scores)
    copied = limits.exceeded(scores).nonzero()[0]
    matches: dict[int, Match] = {}
    for excerpt in sorted(copied, key=lambda number: -float(closeness[:, number].max())):
        track_number = int(compared.near[closeness[:, excerpt].argmax(), excerpt])
        matches.setdefault(of[excerpt], Match(made[of[excerpt]], seen[track_number].path))
    return Findings(len(made), len({of[excerpt] for excerpt in copied}), len(seen), limits, tuple(matches.values()))


def tracks_of(
    home: LabelHome, release: Release, *, workers: int | None = None, progress: Progress | None = None
) -> Split:
    """What this label has trained a release on, and what it held out, as training itself tells them apart.

    Raises:
        CatalogueError: it has trained on nothing.
    """
    manifest = release.manifest
    about = home.diary.joining(manifest.run) or {}
    styles = about.get("classes", manifest.classes)  # whoever made the release does not say which tracks were in it
    usable = usable_tracks(home, manifest.task, workers=workers, progress=progress)
    tracks = [track for track in usable if track.style in styles]
    if not tracks:
        raise CatalogueError("This label has no track of the release's styles that consents to its purpose.")
    split = holdout(tracks, _share_held_out(about), key=home.split_key_file.read_bytes())
    if not split.train:
        raise CatalogueError("This label has trained on no track of the release's styles.")
    return split


def _share_held_out(about: Mapping[str, object]) -> float:
    """The label's own share; earlier versions let each run choose one, and noted it."""
    share = about.get("holdout")
    return share if isinstance(share, float) and 0 < share < 1 else HELD_OUT_SHARE


def _to_calibrate_by(store: SketchStore, split: Split) -> tuple[list[Excerpt], list[int], list[str]]:
    """Excerpts of some tracks, held-out ones first; of each excerpt, the number of its track and the track's group."""
    system = random.SystemRandom()
    tracks: list[Track] = []
    for some in (split.held_out, split.train):
        tracks += system.sample(some, len(some))
    found: list[Excerpt] = []
    of: list[int] = []
    groups: list[str] = []
    for number, (track, sketched) in enumerate(store.load(tracks)):
        taken = as_sample(sketched, system)
        found += taken
        of += [number] * len(taken)
        groups += [group_of(track)] * len(taken)
        if len(set(of)) == MOST_TRACKS:
            break
    return found, of, groups


def as_sample(sketched: Sketch, chance: random.Random) -> list[Excerpt]:
    """The excerpts of so much of a track as a sample is long, from anywhere in it; all, where it is shorter."""
    start = chance.uniform(0, max(0.0, len(sketched.chroma) / COLUMN_RATE - SECONDS))
    return list(excerpts(sketched, start, SECONDS))


def _silence(done: int, total: int) -> None:
    """Tell nobody."""
