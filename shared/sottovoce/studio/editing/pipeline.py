"""Edits a file: gaps, effects of a release, plain effects; then everything that says what was done to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from sottovoce.audio.decoding import expect_rate
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError, ConfigurationError, no_sound
from sottovoce.studio.editing import output_formats
from sottovoce.studio.editing.effect import Applied, Blocks, Effect, Finite, apply
from sottovoce.studio.editing.gaps import Gap
from sottovoce.studio.editing.repair import Repair, expect_short
from sottovoce.studio.editing.repairer import Chooser
from sottovoce.studio.editing.watermark_effect import Watermark, read_back
from sottovoce.studio.provenance import tags
from sottovoce.studio.provenance.containers import LARGEST_EMBEDDED, expect_no_sidecar
from sottovoce.studio.provenance.credentials import read as read_credentials
from sottovoce.studio.provenance.finish import finished
from sottovoce.studio.provenance.origin import MADE, PARTLY_MADE, Origin
from sottovoce.studio.provenance.signing_key import SigningKey
from sottovoce.studio.provenance.watermark.embed import CLEAR, STEPS_DB
from sottovoce.studio.provenance.watermark.pattern import LOWEST_RATE
from sottovoce.studio.provenance.writer import SHORTEST_SECONDS

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Args:
        origin: what is said of it.
        gaps: that are filled, in order, none touching another.
        repairer: fills them.
        learned: effects of a release.
        plain: effects that need none.
        made: the stretches that a release makes, of what `gaps` and `learned` give, in frames; None if it is all of it.
    """

    origin: Origin
    gaps: Sequence[Gap] = ()
    repairer: Chooser | None = None
    learned: Sequence[Effect] = ()
    plain: Sequence[Effect] = ()
    made: Sequence[tuple[int, int]] | None = ()


@dataclass(frozen=True)
class Edited:
    """What was done.

    Args:
        applied: to the audio.
        exact: whether every sample outside the gaps is the same number as before: where nothing but gaps was filled,
            into a format that holds the same numbers.
        sidecar: the file with its credentials, if they do not lie in it.
        watermark: how clearly the watermark was read back, in standard deviations; None if it carries none.
    """

    applied: Applied
    exact: bool
    sidecar: Path | None
    watermark: float | None = None


def edit(
    source: Path,
    output: Path,
    plan: Plan,
    *,
    key: SigningKey | None = None,
    progress: Progress = lambda _, __: None,
) -> Edited:
    """Change a file into another, which is whole or absent. Memory does not grow with the length.

    Args:
        source: the file; it is only read.
        output: the other file; its extension chooses the container.
        plan: what is done.
        key: who signs; None for the user's own key.
        progress: told how many frames of the source, of how many, were read.

    Raises:
        AudioError: the source cannot be used.
        ReleaseError: a release makes numbers that are no sound.
        ConfigurationError: the plan, the output or the key cannot be used.
    """
    expect_apart(source, output)
    with opened(source) as file:
        form = output_formats.output_format(output, file)
        rate, subtype, frames = file.samplerate, file.subtype, file.frames
    expect_short(plan.gaps, rate)
    learned: list[Effect] = [_ProgressReport(progress, frames)]
    if plan.repairer and plan.gaps:
        learned.append(Repair(plan.gaps, plan.repairer))
    if plan.learned or plan.plain:
        learned += [Finite(), *plan.learned]
    if plan.learned:
        learned.append(Finite(no_sound))
    origin = replace(plan.origin, of_model=_of_model(source))
    stretches = _marked(plan, rate)
    score = None
    with finished(output, origin, source=source, key=key) as draft:
        if origin.payload is None or stretches == ():
            applied = apply(source, draft.audio, [*learned, *plan.plain], form)
        else:
            middle = draft.folder / "middle.w64"
            apply(source, middle, learned, ("W64", output_formats.between(subtype)))
            for step in STEPS_DB:
                mark = Watermark(origin.payload, stretches, step)
                # A mark of all of it comes last: no effect can blur it then.
                chain = [*plan.plain, mark] if stretches is None else [mark, *plan.plain]
                applied = apply(middle, draft.audio, chain, form)
                score = read_back(draft.audio, origin.payload, None if plan.plain else stretches)
                if score >= CLEAR:
                    break
            middle.unlink()
    exact = not plan.learned and not plan.plain and output_formats.exact(subtype, form[1])
    return Edited(applied, exact, draft.sidecar, score)


class _ProgressReport:
    """Tells how far it is."""

    name = "progress"

    def __init__(self, progress: Progress, frames: int) -> None:
        self._progress, self._frames = progress, frames

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:  # noqa: ARG002
        done = 0
        for block in blocks:
            yield block
            done += len(block)
            self._progress(done, self._frames)


def opened(source: Path) -> soundfile.SoundFile:
    """An audio file.

    Raises:
        AudioError: it cannot be read.
    """
    if not source.is_file():
        raise AudioError("The file is not there, or is no regular file.", reason=RejectReason.MISSING)
    try:
        file = soundfile.SoundFile(source)
    except soundfile.SoundFileError:
        raise AudioError("The file cannot be decoded as audio.", reason=RejectReason.CORRUPT) from None
    try:
        expect_rate(file.samplerate)
        if not file.frames:
            raise AudioError("The file holds no audio.", reason=RejectReason.EMPTY)
    except AudioError:
        file.close()
        raise
    return file


def expect_apart(source: Path, output: Path, *, force: bool = True) -> None:
    """Refuse to write over the source, which may be the only recording there is, or over another file unasked.

    Raises:
        ConfigurationError: both are one file, or the output exists.
        AudioError: the source is no file.
    """
    if not source.is_file():
        raise AudioError("The file is not there, or is no regular file.", reason=RejectReason.MISSING)
    if output.is_dir():
        raise ConfigurationError("The output is a folder.", hint="Give a file's name: -o mended.wav.")
    if output.exists() and output.samefile(source):
        raise ConfigurationError("The output is the input itself.", hint="Give another name: the original is kept.")
    if not force and output.exists():
        raise ConfigurationError("The output exists.", hint="Give another name, or --force.")
    if not force:
        expect_no_sidecar(output)


def _marked(plan: Plan, rate: int) -> Sequence[tuple[int, int]] | None:
    """Which stretches get a watermark: those that a release made, if they are long enough for one; None for all."""
    if rate < LOWEST_RATE:
        return ()
    if plan.made is None:
        return None
    return tuple(stretch for stretch in plan.made if stretch[1] - stretch[0] >= SHORTEST_SECONDS * rate)


def _of_model(source: Path) -> bool:
    """Whether a file says that a model made it, or a part of it."""
    said = {tags.read(source).get("source_type")}
    if source.stat().st_size <= LARGEST_EMBEDDED:  # the library that reads them holds the file in memory
        said.add(read_credentials(source).source_type)
    return bool(said & {MADE, PARTLY_MADE})
