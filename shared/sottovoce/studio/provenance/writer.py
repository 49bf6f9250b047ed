"""Write finished audio with watermark, tags and content credentials."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio.decoding import HIGHEST_RATE
from sottovoce.errors import ConfigurationError
from sottovoce.studio.provenance.containers import Container, container_of
from sottovoce.studio.provenance.finish import finished
from sottovoce.studio.provenance.origin import Origin
from sottovoce.studio.provenance.signing_key import SigningKey
from sottovoce.studio.provenance.watermark.embed import embed_clearly
from sottovoce.studio.provenance.watermark.pattern import LOWEST_RATE

SHORTEST_SECONDS = 4.0
"""Shortest marked region, seconds; a shorter one holds less than a period of the watermark, and gets none."""

_BLOCK = 1 << 16
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_FLOATING = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class Written:
    """Result of writing audio.

    Args:
        path: the file.
        sidecar: file with the credentials, if they are not embedded.
        watermarked: whether it carries a watermark.
        score: score with which the watermark was read back, in standard deviations; 0 if it was not found (sparse,
            distinct sounds mask little) or there is none.
        clipped: number of samples beyond full scale, which were clipped.
    """

    path: Path
    sidecar: Path | None
    watermarked: bool
    score: float
    clipped: int


def write_audio(
    path: Path,
    samples: NDArray[np.floating],
    sample_rate: int,
    origin: Origin,
    *,
    subtype: str | None = None,
    region: tuple[int, int] | None = None,
    source: Path | None = None,
    title: str | None = None,
    key: SigningKey | None = None,
) -> Written:
    """Write audio with a watermark, tags and signed content credentials: whole or not at all.

    Args:
        path: ends in .wav, .flac, .ogg or .aiff. Credentials of OGG and AIFF, and of files over 128 MiB, are in a
            sidecar that ends in .c2pa.
        samples: `[channels, n]`, full scale 1. Samples read from an integer file are written unchanged, if the subtype
            has as many bits.
        sample_rate: Hz. Audio below 8,000 Hz gets no watermark.
        origin: the audio's origin. Without a release there is no watermark.
        subtype: sample format, such as `PCM_16` or `FLOAT` (libsndfile's names); None for the container's default.
        region: the first generated or changed sample, and the first after them; only this region gets the watermark, if
            it is at least four seconds long. None for all.
        source: the edited file, if any. Credentials identify it by digest, and its titles and names are kept as tags.
        title: title for the tags.
        key: key that signs; None for the user's own.

    Raises:
        ConfigurationError: the extension, subtype or key cannot be used, or the audio does not fit the container.
        ValueError: the samples are invalid, or the region is not within them.
    """
    container, subtype = container_of(path, subtype)
    _expect_audio(samples)
    key = key or SigningKey.own()
    marked, watermarked, score = _marked(samples, sample_rate, origin, region)
    with finished(path, origin, source=source, title=title, key=key) as draft:
        clipped = _write(draft.audio, marked, sample_rate, container, subtype)
    return Written(path, draft.sidecar, watermarked, score, clipped)


def _expect_audio(samples: NDArray[np.floating]) -> None:
    if samples.ndim != 2 or not samples.size:
        raise ValueError(f"Expected samples [channels, n], not {list(samples.shape)}.")
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"Expected floating-point samples, not {samples.dtype}.")
    if not np.isfinite(samples).all():
        raise ValueError("Expected finite samples.")


def _marked(
    samples: NDArray[np.floating], rate: int, origin: Origin, region: tuple[int, int] | None
) -> tuple[NDArray[np.floating], bool, float]:
    first, last = region or (0, samples.shape[1])
    if not 0 <= first <= last <= samples.shape[1]:
        raise ValueError(f"Expected a region within 0 and {samples.shape[1]}, not {first} to {last}.")
    if origin.payload is None or not LOWEST_RATE <= rate <= HIGHEST_RATE or last - first < SHORTEST_SECONDS * rate:
        return samples, False, 0.0
    marked, score = embed_clearly(samples, rate, origin.payload, region=region)
    return marked, True, score


def _write(path: Path, samples: NDArray[np.floating], rate: int, container: Container, subtype: str) -> int:
    """Write plain audio, block by block (libsndfile's Vorbis encoder fails on long ones); return the clip count."""
    clipped = 0
    try:
        with soundfile.SoundFile(
            path, "w", samplerate=rate, channels=len(samples), format=container.name, subtype=subtype
        ) as file:
            for start in range(0, samples.shape[1], _BLOCK):
                block = samples[:, start : start + _BLOCK].T
                if subtype in _FLOATING:
                    file.write(block)
                    continue
                clipped += int((np.abs(block) > 1).sum())
                file.write(_whole(block, _BITS[subtype]) if subtype in _BITS else np.clip(block, -1, 1))
    except soundfile.SoundFileError:
        raise ConfigurationError(
            f"{container.name} cannot hold {len(samples)} channels at {rate} Hz.",
            hint="Write a WAV file.",
        ) from None
    return clipped


def _whole(block: NDArray[np.floating], bits: int) -> NDArray[np.int32]:
    """Samples as integers in the upper bits of 32.

    libsndfile's own conversion writes with a factor 2^15 - 1 but reads with 2^15, which would change samples.
    """
    scale = 2.0 ** (bits - 1)
    numbers = np.clip(np.rint(block.astype(np.float64) * scale), -scale, scale - 1)
    return (numbers.astype(np.int64) << (32 - bits)).astype(np.int32)
