"""One audit: compares samples of a release, and excerpts for calibration, with every training track."""

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sottovoce.errors import CatalogueError, PrivacyError
from sottovoce.release.load import Release
from sottovoce_client.catalogue import Progress, Track, holdout
from sottovoce_client.catalogue.holdout import Split, group_of
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.copy_audit.comparison import NOWHERE, SHORT, Closest
from sottovoce_client.copy_audit.excerpt import Excerpt, excerpts
from sottovoce_client.copy_audit.samples import SECONDS, Sample, samples
from sottovoce_client.copy_audit.sketch import COLUMN_RATE, Sketch
from sottovoce_client.copy_audit.sketch_cache import SketchStore
from sottovoce_client.copy_audit.thresholds import Bounds, bounds, expect_enough
from sottovoce_client.data.preparation import usable_tracks, with_sides
from sottovoce_client.data.split import split_of
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

MOST_TRACKS = 256
"""Greatest number of tracks for calibration, drawn at random from more."""

Stages = Callable[[str], AbstractContextManager[Progress | None]]
"""Type of a function that opens a progress display for a stage by its name, such as
`sottovoce_client.commands.label.common.bar`."""


class CopiesFound(PrivacyError):
    """The release generates music that is too close to this label's own."""


@dataclass(frozen=True)
class Match:
    """A sample that is too close to one of the label's tracks. It never leaves the label."""

    sample: Sample
    track: Path


@dataclass(frozen=True)
class Findings:
    """The result of an audit, for the label's own people. Only `passed` may leave the label.

    Args:
        samples: number of samples generated.
        copied: number of samples with a passage too close to a track.
        tracks: number of training tracks compared with.
        bounds: the thresholds, and how they were calibrated.
        matches: each copied sample and the track it is closest to.
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
        home: the label's home.
        release: the loaded release; loading has verified it.
        policy: sets the number of samples and the false-alarm probability.
        workers: number of processes that compute sketches.
        stage: opens a progress display for each stage.

    Raises:
        ReleaseError: the release's task does not generate music, or the release generates silence.
        CatalogueError: there are no tracks to compare with, or too few for calibration.
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
        raise CatalogueError("None of the training tracks can be read any more.")
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
    """Split the label's tracks into those it trained the release on and those it held out, as training itself does.

    Raises:
        CatalogueError: the label trained on none of its tracks.
    """
    manifest = release.manifest
    about = home.diary.joining(manifest.run) or {}
    styles = about.get("classes", manifest.classes)  # the release must not decide which tracks count as trained on
    usable = usable_tracks(home, manifest.task, workers=workers, progress=progress)
    tracks = [track for track in usable if track.style in styles]
    if not tracks:
        raise CatalogueError("No track of this label in the release's styles has consent for the release's purpose.")
    share = _former_share(about)
    if share is None:
        split = split_of(with_sides(home, workers=workers)[0], tracks, workers=workers)
    else:
        split = holdout(tracks, share, key=home.split_key_file.read_bytes())
    if not split.train:
        raise CatalogueError("This label trained on no track in the release's styles.")
    return split


def _former_share(about: Mapping[str, object]) -> float | None:
    """The held-out share of a run of an earlier version, which chose its own; the diary recorded it."""
    share = about.get("holdout")
    return share if isinstance(share, float) and 0 < share < 1 else None


def _to_calibrate_by(store: SketchStore, split: Split) -> tuple[list[Excerpt], list[int], list[str]]:
    """Excerpts of tracks, held-out ones first, each with the number and the group of its track."""
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
    """Excerpts of a random passage as long as a sample; of the whole track if it is shorter."""
    start = chance.uniform(0, max(0.0, len(sketched.chroma) / COLUMN_RATE - SECONDS))
    return list(excerpts(sketched, start, SECONDS))


def _silence(done: int, total: int) -> None:
    """Ignore the progress."""
