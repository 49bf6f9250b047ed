"""An edit as a user requests it, and its execution: shared by the command line, Python and services."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.dropouts import find_gaps
from sottovoce.studio.editing.edit_plan import LearnedEffects, PlainEffects, operation
from sottovoce.studio.editing.gaps import Gap, in_frames, merge
from sottovoce.studio.editing.methods import FORMER_METHODS, METHODS, MODEL_METHOD
from sottovoce.studio.editing.pipeline import Edited, Plan, edit, opened
from sottovoce.studio.editing.repairer import LEARNED, ByLength, Chooser, LpcRepairer, Repairer
from sottovoce.studio.provenance.origin import Origin, Value
from sottovoce.studio.provenance.signing_key import SigningKey

if TYPE_CHECKING:
    from sottovoce.release.load import Release

LONGEST_LPC = 0.1
"""Longest gap that `auto` fills by linear prediction, seconds; longer ones are filled from similar passages."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """A requested edit.

    Args:
        repairs: gaps to fill, `(start, end)` in seconds.
        find: whether to find drop-outs and fill them as well.
        method: how gaps are filled, one of `METHODS`.
        learned: effects that need a release.
        plain: effects that need no release.

    Raises:
        ConfigurationError: there is nothing to do, or the method is unknown.
    """

    repairs: Sequence[tuple[float, float]] = ()
    find: bool = False
    method: str = METHODS[0]
    learned: LearnedEffects = field(default_factory=LearnedEffects)
    plain: PlainEffects = field(default_factory=PlainEffects)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", FORMER_METHODS.get(self.method, self.method))
        if self.method not in METHODS:
            raise ConfigurationError(f"Unknown method '{self.method}'.", hint=f"Choose from {', '.join(METHODS)}.")
        if not (self.repairs or self.find or self.effects()):
            raise ConfigurationError("Nothing to do.", hint="Add --repair START:END, --find-gaps, or an effect.")

    def effects(self) -> dict[str, Value]:
        """The requested effects, as named in the file's credentials."""
        return {**self.learned.parameters(), **self.plain.parameters()}

    def expect_release(self, *, given: bool) -> None:
        """Refuse a release that no option uses, and an effect without the release that it needs.

        Raises:
            ConfigurationError: either is the case.
        """
        asked, gaps = self.learned.parameters(), bool(self.repairs or self.find)
        if not given and (asked or self.method == MODEL_METHOD):
            raise ConfigurationError("This needs a release.", hint="Add --release DIR.")
        if self.learned.restyle is not None and (len(asked) > 2 or self.method == MODEL_METHOD):  # itself, its amount
            message = "--restyle needs a generator's release, the other options an editor's."
            raise ConfigurationError(message, hint="Edit in two steps.")
        if given and not asked and not (gaps and self.method == MODEL_METHOD):
            hint = "Omit --release, or fill gaps with it: --method model." if gaps else "Omit --release."
            raise ConfigurationError("No option uses the release.", hint=hint)


@dataclass(frozen=True)
class Result:
    """Result of an edit.

    Args:
        edited: facts about the written file; None if there was nothing to fill and nothing was written.
        gaps: filled gaps, `(start, end)` in seconds.
        operations: names of the operations.
        method: the methods that filled the gaps, separated by spaces.
        sample_rate: Hz.
    """

    edited: Edited | None
    gaps: tuple[tuple[float, float], ...]
    operations: tuple[str, ...]
    method: str
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Length of the written file; 0 if none was written."""
        return 0.0 if self.edited is None else self.edited.applied.frames / self.sample_rate


def carry_out(
    request: Request,
    source: Path,
    output: Path,
    *,
    release: "Release | None" = None,
    key: SigningKey | None = None,
    progress: Progress = lambda _, __: None,
) -> Result:
    """Edit a file into another one, written whole or not at all.

    Args:
        request: the requested edit.
        source: the file; it is only read.
        output: file to write; its extension chooses the container.
        release: a release of the task that the request's effects need.
        key: signs the content credentials; None for the user's own key.
        progress: called with the number of source frames read, and their total.

    Raises:
        AudioError: the source cannot be used.
        ConfigurationError: the request, the output or the key cannot be used.
        ReleaseError: the release belongs to another task, or its output is not finite.
    """
    request.expect_release(given=release is not None)
    with opened(source) as file:
        rate, frames = file.samplerate, file.frames
    gaps = in_frames(request.repairs, rate, frames) if request.repairs else ()
    if request.find:
        gaps = merge([*gaps, *find_gaps(source)[0]])
    effects = request.effects()
    names = (*(["repair"] if gaps else []), *(name for name in effects if name != "amount"))
    if not names:
        return Result(None, (), (), "", rate)
    repairer = _repairer(request.method, release if request.learned.task == "editor" else None)
    methods = [repairer.choose(gap.frames, rate).name for gap in gaps]
    method = " ".join(sorted(set(methods)))
    made = _made(request.learned, gaps, methods, frames, rate)
    name, digest = ("", "") if release is None or made == [] else (release.manifest.name[:64], release.digest)
    repaired: dict[str, Value] = {"method": method, "gaps": len(gaps)} if gaps else {}
    plan = Plan(
        Origin(operation(names), name, digest, parameters={**repaired, **effects}),
        gaps,
        repairer,
        [] if release is None else request.learned.effects(release),
        request.plain.effects(),
        made,
    )
    edited = edit(source, output, plan, key=key, progress=progress)
    return Result(edited, tuple((gap.start / rate, gap.end / rate) for gap in gaps), names, method, rate)


def _made(
    learned: LearnedEffects, gaps: Sequence[Gap], methods: Sequence[str], frames: int, rate: int
) -> list[tuple[int, int]] | None:
    """Ranges that a release generates, in frames; None for the whole file."""
    extended = learned.model_made(frames, rate)
    if extended is None:
        return None
    filled = [(gap.start, gap.end) for gap, method in zip(gaps, methods, strict=True) if method == LEARNED]
    return [*filled, *extended]


def _repairer(method: str, release: "Release | None") -> Chooser:
    if method == "interpolate":
        from sottovoce.studio.editing.interpolate import InterpolatingRepairer

        return InterpolatingRepairer()
    if method == "lpc":
        return LpcRepairer()
    if method == MODEL_METHOD:
        from sottovoce.studio.editing.learned_repair import LearnedRepairer

        return LearnedRepairer(cast("Release", release))
    return _exemplar() if method == "exemplar" else ByLength(LpcRepairer(), _exemplar, LONGEST_LPC)


def _exemplar() -> Repairer:
    from sottovoce.studio.editing.exemplar import ExemplarRepairer

    return ExemplarRepairer()
