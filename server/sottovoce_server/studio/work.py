"""The work itself, in a worker process: from a job to its result and its audio files."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sottovoce.api import Model, load
from sottovoce.audio.decoding import probe
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.files import sha256_file
from sottovoce.studio.best_of import CANDIDATES, BestOf
from sottovoce.studio.editing.request import carry_out
from sottovoce.studio.piece import Asked, compose
from sottovoce.studio.provenance.examination import as_plain, examine
from sottovoce.studio.provenance.signing_key import own_authorities
from sottovoce.studio.requests import EditRequest, GenerationRequest
from sottovoce_server.studio.job_files import FORMATS, UPLOAD, piece_name
from sottovoce_server.studio.jobs import Made
from sottovoce_server.studio.schema import Job, Kind
from sottovoce_server.studio.settings import Limits

MOST_CHANNELS = 8
Progress = Callable[[int, int], None]


@dataclass
class Warm:
    """Releases that stay loaded: the least recently used one goes first.

    Args:
        most: how many stay.
    """

    most: int = 8
    _loaded: "OrderedDict[str, Model]" = field(default_factory=OrderedDict)

    def model(self, folder: str, digest: str) -> Model:
        """A release by its folder, loaded once.

        Raises:
            ReleaseError: it is no longer there, or another one is.
        """
        if not Path(folder).is_dir():
            self._loaded.pop(digest, None)
            raise ReleaseError("The release was withdrawn.", hint="Choose another model.")
        if digest not in self._loaded:
            model = load(folder)  # the service has verified it under the pinned key, and names its digest
            if model.release.digest != digest:
                raise ReleaseError("The release was replaced by another one.", hint="Send the request again.")
            self._loaded[digest] = model
            while len(self._loaded) > self.most:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(digest)
        return self._loaded[digest]


@dataclass(frozen=True)
class Work:
    """Carries out jobs.

    Args:
        limits: limits of the studio's users.
        warm: loaded releases.
    """

    limits: Limits
    warm: Warm

    def carry_out(self, job: Job, folder: Path, progress: Progress) -> tuple[dict[str, Any], list[Made]]:
        """Do a job: its result as JSON values, and its outputs for the log.

        Args:
            job: the job.
            folder: its folder, with the uploaded file; its audio is written there.
            progress: called with the work done and in total.

        Raises:
            SottovoceError: it cannot be done; the message says why.
        """
        return {
            Kind.CLASSIFICATION: self._classify,
            Kind.GENERATION: self._generate,
            Kind.EDIT: self._edit,
            Kind.INSPECTION: self._inspect,
        }[Kind(job.kind)](job, folder, progress)

    def _model(self, job: Job, role: str = "model") -> Model:
        return self.warm.model(*job.sources[role])

    def _classify(self, job: Job, folder: Path, _: Progress) -> tuple[dict[str, Any], list[Made]]:
        source = self._source(folder)
        found = self._model(job).classify(source, **job.parameters)
        return asdict(found), [Made(probe(source).seconds)]

    def _generate(self, job: Job, folder: Path, progress: Progress) -> tuple[dict[str, Any], list[Made]]:
        request = GenerationRequest(**job.parameters)
        seed = secrets.randbits(31) if request.seed is None else request.seed
        judge = None
        if "judge" in job.sources:
            judge = BestOf(self._model(job, "judge").release, request.candidates or CANDIDATES)
        pieces, made = [], []
        for index in range(request.count):

            def count(done: int, total: int, index: int = index) -> None:
                progress(index * total + done, request.count * total)

            asked = Asked(request.style, request.seconds, seed, index, request.temperature, judge)
            piece = compose(self._model(job).release, asked, progress=count)
            written, *_ = (piece.save(folder / piece_name(job.claim, index, form)) for form in FORMATS)
            digests = _digests(folder, job.claim, index)
            pieces.append(
                {
                    "number": index,
                    "seconds": piece.seconds,
                    "sample_rate": piece.sample_rate,
                    "seed": seed,
                    "watermark_score": written.score if written.watermarked else None,
                    "sha256": digests,
                }
            )
            made.append(Made(piece.seconds, seed, digests["flac"]))
        return {"claim": job.claim, "seed": seed, "audio": pieces}, made

    def _edit(self, job: Job, folder: Path, progress: Progress) -> tuple[dict[str, Any], list[Made]]:
        source = self._source(folder)
        request = EditRequest(**job.parameters).parsed()
        release = self._model(job).release if "model" in job.sources else None
        results = [
            carry_out(request, source, folder / piece_name(job.claim, 0, form), release=release, progress=progress)
            for form in FORMATS
        ]
        result = results[0]
        facts = {
            "gaps": [list(gap) for gap in result.gaps],
            "operations": list(result.operations),
            "method": result.method or None,
        }
        if result.edited is None:
            return {**facts, "claim": job.claim, "audio": []}, [Made(probe(source).seconds)]
        digests = _digests(folder, job.claim, 0)
        piece = {
            "number": 0,
            "seconds": result.seconds,
            "sample_rate": result.sample_rate,
            "seed": None,
            "watermark_score": result.edited.watermark,
            "sha256": digests,
        }
        facts |= {"limited": result.edited.applied.limited, "exact_outside": result.edited.exact}
        return {**facts, "claim": job.claim, "audio": [piece]}, [Made(result.seconds, None, digests["flac"])]

    def _inspect(self, job: Job, folder: Path, _: Progress) -> tuple[dict[str, Any], list[Made]]:
        source = self._source(folder)
        wanted = job.sources["model"][1] if "model" in job.sources else None
        report = examine(source, trusted=own_authorities(), release=wanted)
        seconds = 0.0 if report.facts is None else report.facts.frames / report.facts.sample_rate
        return as_plain(report), [Made(seconds)]

    def _source(self, folder: Path) -> Path:
        """The uploaded file, if it is within the limits.

        Raises:
            ConfigurationError: it is not.
            AudioError: it is no audio.
        """
        source = next(folder.glob(f"{UPLOAD}.*"))
        facts = probe(source)
        if facts.channels > MOST_CHANNELS:
            raise ConfigurationError(f"The file has {facts.channels} channels; at most {MOST_CHANNELS} are accepted.")
        if facts.seconds > self.limits.longest_seconds:
            raise ConfigurationError(
                f"The file lasts {facts.seconds:.0f} s; at most {self.limits.longest_seconds:g} s are accepted."
            )
        return source


def _digests(folder: Path, claim: int, number: int) -> dict[str, str]:
    """SHA-256 (hex) of a piece's files, by format."""
    return {form[1:]: sha256_file(folder / piece_name(claim, number, form)) for form in FORMATS}
