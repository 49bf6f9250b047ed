"""Edit a file: repair gaps, apply a release's effects, then plain effects; then add credentials, tags and watermark."""

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
    """The steps of an edit, in order.

    Args:
        origin: description of the edit for the credentials.
        gaps: gaps to fill, in order, not adjacent.
        repairer: fills the gaps.
        learned: effects of a release.
        plain: effects without a release.
        made: ranges that a release generates, in frames after `gaps` and `learned`; None for the whole file.
    """

    origin: Origin
    gaps: Sequence[Gap] = ()
    repairer: Chooser | None = None
    learned: Sequence[Effect] = ()
    plain: Sequence[Effect] = ()
    made: Sequence[tuple[int, int]] | None = ()


@dataclass(frozen=True)
class Edited:
    """Result of an edit.

    Args:
        applied: what was written.
        exact: whether every sample outside the gaps is unchanged: only gaps were filled, and the format represents all
            samples exactly.
        sidecar: file with the credentials, if they are not embedded.
        watermark: score with which the watermark was read back, in standard deviations; None without a watermark.
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
    """Edit a file into another one, written whole or not at all. Memory does not grow with the length.

    Args:
        source: the file; it is only read.
        output: file to write; its extension chooses the container.
        plan: the steps of the edit.
        key: key that signs; None for the user's own.
        progress: called with the number of source frames read, and their total.

    Raises:
        AudioError: the source cannot be used.
        ReleaseError: a release's output is not finite.
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
                # The watermark of a whole file comes last, so that no effect can blur it.
                chain = [*plan.plain, mark] if stretches is None else [mark, *plan.plain]
                applied = apply(middle, draft.audio, chain, form)
                score = read_back(draft.audio, origin.payload, None if plan.plain else stretches)
                if score >= CLEAR:
                    break
            middle.unlink()
    exact = not plan.learned and not plan.plain and output_formats.exact(subtype, form[1])
    return Edited(applied, exact, draft.sidecar, score)


class _ProgressReport:
    """Reports progress."""

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
        raise AudioError("The file does not exist, or is not a regular file.", reason=RejectReason.MISSING)
    try:
        file = soundfile.SoundFile(source)
    except soundfile.SoundFileError:
        raise AudioError("The file cannot be decoded as audio.", reason=RejectReason.CORRUPT) from None
    try:
        expect_rate(file.samplerate)
        if not file.frames:
            raise AudioError("The file contains no audio.", reason=RejectReason.EMPTY)
    except AudioError:
        file.close()
        raise
    return file


def expect_apart(source: Path, output: Path, *, force: bool = True) -> None:
    """Refuse to overwrite the source, which may be the only copy, or another file without `force`.

    Raises:
        ConfigurationError: source and output are the same file, or the output exists.
        AudioError: the source is not a file.
    """
    if not source.is_file():
        raise AudioError("The file does not exist, or is not a regular file.", reason=RejectReason.MISSING)
    if output.is_dir():
        raise ConfigurationError("The output is a folder.", hint="Use a file name: -o repaired.wav.")
    if output.exists() and output.samefile(source):
        raise ConfigurationError("The output is the input itself.", hint="Choose another name: the original is kept.")
    if not force and output.exists():
        raise ConfigurationError("The output exists.", hint="Choose another name, or add --force.")
    if not force:
        expect_no_sidecar(output)


def _marked(plan: Plan, rate: int) -> Sequence[tuple[int, int]] | None:
    """Ranges to watermark: those that a release generated, if they are long enough; None for the whole file."""
    if rate < LOWEST_RATE:
        return ()
    if plan.made is None:
        return None
    return tuple(stretch for stretch in plan.made if stretch[1] - stretch[0] >= SHORTEST_SECONDS * rate)


def _of_model(source: Path) -> bool:
    """Whether a file's credentials or tags say that a model generated it, or a part of it."""
    said = {tags.read(source).get("source_type")}
    if source.stat().st_size <= LARGEST_EMBEDDED:  # the library loads the whole file into memory
        said.add(read_credentials(source).source_type)
    return bool(said & {MADE, PARTLY_MADE})
