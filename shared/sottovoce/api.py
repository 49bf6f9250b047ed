"""The face of Sottovoce for Python: use a release, or simulate a federation, in a few lines.

    import sottovoce

    model = sottovoce.load("run/release", key="federation.toml")
    model.privacy                       # privacy guarantee per track
    model.generate("waltz", seconds=30).save("waltz.flac")

    run = sottovoce.simulate("music/", epsilon=4)
    run.metrics["macro_f1"], run.release.classify("song.flac")

    studio = sottovoce.connect("http://127.0.0.1:8480")
    studio.classify("song.flac", model="isles-style-svm").style

Errors are those of `sottovoce.errors`. Importing `sottovoce` loads no torch; using a model does.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.studio.classification import Classification, Segment

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce.release.manifest import Manifest, Privacy
    from sottovoce.studio.editing.equaliser import Band
    from sottovoce.studio.editing.request import Result
    from sottovoce.studio.piece import Piece
    from sottovoce.studio.remote import Studio

PATH = str | PathLike[str]
SIMULATE = "simulate"
"""Entry point, in the group `sottovoce.python`, by which the simulations package adds `sottovoce.simulate`."""


@dataclass(frozen=True)
class Model:
    """A checked release, ready to use. Make one with `sottovoce.load`.

    Args:
        release: the release as the library's other modules take it.
    """

    release: "Release" = field(repr=False)

    @property
    def manifest(self) -> "Manifest":
        """The signed manifest."""
        return self.release.manifest

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that it knows."""
        return self.manifest.classes

    @property
    def privacy(self) -> "Privacy":
        """The privacy statement: unit, neighbouring relation, trust, and (ε, δ) by label."""
        return self.manifest.privacy

    @property
    def vouched(self) -> bool:
        """Whether it is signed with the key that `load` was given."""
        return self.release.vouched

    def classify(self, path: PATH, *, over_time: bool = False) -> Classification:
        """Recognise the style of a whole track.

        Args:
            path: an audio file.
            over_time: whether to return the segments' probabilities as well.

        Raises:
            AudioError: the file cannot be used; `reason` says why.
            ReleaseError: the release does not recognise styles.
        """
        file = Path(path)
        if file.exists() and not file.is_file():  # opening a pipe would block for ever
            raise AudioError("It is not a regular file.", reason=RejectReason.NOT_AUDIO)
        if not over_time:
            ranked = self._ranked(self.release.probabilities(file))
            return Classification(next(iter(ranked)), ranked)
        from sottovoce.audio.decoding import probe

        rows = self.release.probabilities_over_time(file)
        places = self.release.seconds_of(len(rows), probe(file).seconds)
        segments = [Segment(*place, self._ranked(row)) for place, row in zip(places, rows, strict=False)]
        ranked = self._ranked(rows.mean(axis=0))
        return Classification(next(iter(ranked)), ranked, segments)

    def _ranked(self, probabilities: Iterable[float]) -> dict[str, float]:
        values = map(float, probabilities)
        return dict(sorted(zip(self.styles, values, strict=True), key=lambda pair: -pair[1]))

    def generate(
        self,
        style: str,
        *,
        seconds: float = 10.0,
        seed: int | None = None,
        temperature: float = 1.0,
        judge: "Model | None" = None,
    ) -> "Piece":
        """Generate new music of a style; `save` writes it with its credentials, tags and watermark.

        Args:
            style: one of `styles`.
            seconds: length.
            seed: equal seeds give equal music, on the same machine and versions; None draws one.
            temperature: 1 samples as trained; lower values favour likelier music.
            judge: a model that recognises styles, which chooses the best of several candidates.

        Raises:
            ReleaseError: the release is no generator, or its output is not finite.
            ConfigurationError: there is no such style.
        """
        from sottovoce.studio.best_of import BestOf
        from sottovoce.studio.piece import Asked, compose

        seed = secrets.randbits(31) if seed is None else seed
        best_of = None if judge is None else BestOf(judge.release)
        return compose(self.release, Asked(style, seconds, seed, 0, temperature, best_of))

    def edit(self, path: PATH, output: PATH, **options: Any) -> "Result":
        """Edit a file with this model's effects (`denoise`, `extend`, `restyle`, `method="model"`) and others.

        Options and errors are those of `sottovoce.edit`.
        """
        return edit(path, output, model=self, **options)


@dataclass(frozen=True)
class Simulation:
    """A finished simulation.

    Args:
        folder: where its report, plots and release are.
        configuration: the run's configuration.
        metrics: figures of the released model on held-out tracks, with ε by label and seconds by stage.
        rounds: one mapping a round.
    """

    folder: Path
    configuration: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rounds: Sequence[Mapping[str, Any]]

    @cached_property
    def release(self) -> Model:
        """The model that the simulation published."""
        return load(self.metrics["release"])


def load(release: PATH, *, key: str | bytes | None = None) -> Model:
    """Check a release and build its model. Nothing is unpickled.

    Args:
        release: the release's folder.
        key: the coordinator's key that you trust: 32 bytes, 64 hexadecimal digits, a file that holds them, or the
            federation's agreement (`federation.toml`). Without one the check finds damage but no forger.

    Raises:
        ReleaseError: a check fails.
        ConfigurationError: `key` is not a usable key.
    """
    from sottovoce.release.load import load as load_release
    from sottovoce.release.trusted_key import trusted_agreement, trusted_key

    if isinstance(key, bytes):
        return Model(load_release(Path(release), key))
    return Model(load_release(Path(release), trusted_key(key), agreement=trusted_agreement(key)))


def connect(url: str, *, token: str | None = None, authority: PATH | None = None) -> "Studio":
    """Use a studio over HTTP. `sottovoce.studio.remote.AsyncStudio` is the same with `async`.

    Args:
        url: its address, such as http://127.0.0.1:8480.
        token: your token, where it asks for one.
        authority: PEM file of the certificate authority to trust; by default the system's.

    Raises:
        ConfigurationError: the address cannot be used, or would expose the token.
    """
    from sottovoce.studio.remote import Studio

    return Studio(url, token, authority=None if authority is None else Path(authority))


def edit(
    path: PATH,
    output: PATH,
    *,
    model: Model | None = None,
    repair: Sequence[tuple[float, float]] = (),
    find_gaps: bool = False,
    method: str = "auto",
    denoise: float | None = None,
    extend: float | None = None,
    restyle: str | None = None,
    amount: float = 1.0,
    trim: tuple[float, float] | None = None,
    stretch: float | None = None,
    pitch: float | None = None,
    eq: "Sequence[Band]" = (),
    compress: tuple[float, float] | None = None,
    gain: float | None = None,
    fade_in: float | None = None,
    fade_out: float | None = None,
) -> "Result":
    """Edit an audio file; the output is written whole or not at all, and the source is only read.

    Args:
        path: the audio file.
        output: file to write; its extension chooses the container.
        model: provides the effects `denoise`, `extend`, `restyle` and the method `model`.
        repair: gaps to fill, `(start, end)` in seconds.
        find_gaps: find drop-outs and fill them as well.
        method: how gaps are filled: auto, lpc, exemplar, interpolate or model.
        denoise: how much noise to remove, 0 to 1.
        extend: seconds of music to append.
        restyle: style to move towards.
        amount: strength of the restyling, 0 to 1.
        trim: start and end of the part to keep, seconds.
        stretch: tempo factor; 2 doubles the length.
        pitch: semitones up.
        eq: bands of the equaliser.
        compress: threshold (dB of full scale) and ratio.
        gain: dB.
        fade_in: seconds.
        fade_out: seconds.

    Raises:
        AudioError: the file cannot be used.
        ConfigurationError: the request or the output cannot be used.
        ReleaseError: the model belongs to another task.
    """
    from sottovoce.studio.editing.edit_plan import LearnedEffects, PlainEffects
    from sottovoce.studio.editing.pipeline import expect_apart
    from sottovoce.studio.editing.request import Request, carry_out

    learned = LearnedEffects(denoise, extend, restyle, amount)
    plain = PlainEffects(trim, stretch, pitch, eq, compress, gain, fade_in, fade_out)
    request = Request(repair, find_gaps, method, learned, plain)
    expect_apart(Path(path), Path(output))
    return carry_out(request, Path(path), Path(output), release=None if model is None else model.release)


def simulate(catalogues: PATH, out: PATH | None = None, **options: Any) -> Simulation:
    """Train a model over many labels on this machine, with the code that labels and coordinator run.

    Args:
        catalogues: one folder a label, or with `clients` one pool to split.
        out: folder for report, plots and release; by default a new one below `runs/`.
        options: fields of `sottovoce_simulations.engine.experiment.Experiment`, such as `family="cnn"`, `epsilon=4`,
            `rounds=10`, `clients=20`, `noise="distributed"`, `seed=1`.

    Raises:
        ConfigurationError: the simulations are not installed, or an option is unknown or out of range.
        CatalogueError: there are too few labels, or a label has no usable tracks.
    """
    found = entry_points(group="sottovoce.python", name=SIMULATE)
    if not found:
        raise ConfigurationError("The package sottovoce_simulations is not installed.")
    run = next(iter(found)).load()
    return cast(Simulation, run(Path(catalogues), None if out is None else Path(out), options))
