"""Fictitious artists with habits, which make one artist's tracks similar."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST = _words(
    """
    Ada Amir Anouk Bela Bruno Carmen Chidi Clara Dario Dilan Edda Elias Emeka Esra Farid Freya Gael Greta Hana Hugo
    Ida Ines Ivo Jana Joon Kaja Kofi Lale Leon Lin Luca Maeve Malik Mara Milo Nadia Nils Noor Olga Oscar Paola Petra
    Quinn Rafa Rosa Sanna Selim Sofia Taro Tilda Uma Vera Viggo Wanda Xenia Yael Yusuf Zoe
    """
)
_LAST = _words(
    """
    Abend Aster Balint Barros Birk Calder Castel Demir Dorn Eklund Falk Ferro Galanti Grove Haas Holm Ibsen Jansen
    Kaya Keller Koch Lang Lindqvist Lund Marek Moreau Nakano Novak Okafor Olsen Paz Quist Ravel Reis Rossi Sato
    Silva Stern Szabo Tanaka Torres Ueda Vance Vidal Weiss Winter Yilmaz Zeman
    """
)
_GROUP = ("", "", "", "Trio", "Ensemble", "& Friends", "Project", "Quartet")
_ADJECTIVES = _words(
    """
    Amber Blue Broken Clear Distant Early Empty Final Gentle Golden Hidden Hollow Last Late Little Lost Narrow
    Northern Old Open Paper Quiet Second Silent Silver Slow Small Southern Still Sudden Velvet Wandering White Wild
    Winter Young
    """
)
_NOUNS = _words(
    """
    Bridge Candle City Corner Door Evening Field Garden Harbour Hill Hour House Island Lamp Letter Light Mirror
    Morning Mountain Orchard Path Promise Rain River Road Room Shadow Shore Sky Snow Station Stone Street Summer
    Tide Town Train Valley Water Window Year
    """
)


@dataclass(frozen=True)
class Artist:
    """An artist and their habits.

    Args:
        name: for tags.
        seed: source of every habit.
        tempo: usual position within a style's range of tempi, 0 to 1.
        root: favourite key, 0 (C) to 11 (B).
        brightness: spectral tilt of all recordings, dB per octave.
        room: reverberation time of the usual studio, seconds.
        wet: level of the reverberation.
        level: RMS of the masters, dBFS.
        noise: RMS of the noise floor, dBFS.
        drive: amount of tape saturation; 0 for none.
        eccentric: probability of an arrangement that is unusual for the style.
        rate: sample rate of the delivered files, Hz.
        stereo: whether recordings have two channels.
    """

    name: str
    seed: int
    tempo: float
    root: int
    brightness: float
    room: float
    wet: float
    level: float
    noise: float
    drive: float
    eccentric: float
    rate: int
    stereo: bool

    @classmethod
    def invent(cls, seed: int, *, eccentric: float) -> "Artist":
        """The artist with this seed.

        Args:
            seed: equal seeds give equal artists.
            eccentric: mean of `Artist.eccentric`.
        """
        rng = np.random.default_rng(seed)
        return cls(
            name=" ".join(filter(None, (rng.choice(_FIRST), rng.choice(_LAST), rng.choice(_GROUP)))),
            seed=seed,
            tempo=float(rng.beta(1.5, 1.5)),
            root=int(rng.integers(12)),
            brightness=float(rng.normal(0.0, 1.3)),
            room=float(np.exp(rng.normal(0.0, 0.6))),
            wet=float(rng.beta(1.5, 5)),
            level=float(rng.uniform(-28, -12)),
            noise=float(rng.choice((-90.0, -70.0, -55.0, -42.0), p=(0.4, 0.3, 0.2, 0.1)) + rng.normal(0, 3)),
            drive=float(rng.choice((0.0, 0.0, 1.0, 2.5))),
            eccentric=float(eccentric * rng.gamma(2.0, 0.5)),
            rate=int(rng.choice((22_050, 44_100, 32_000), p=(0.8, 0.15, 0.05))),
            stereo=bool(rng.random() < 0.5),
        )

    def favourite(self, options: tuple[str, ...]) -> str:
        """The artist's usual choice among some options."""
        rng = np.random.default_rng((self.seed, crc32("/".join(options).encode())))
        return str(rng.choice(options))


def title(rng: np.random.Generator) -> str:
    """A title for a track or an album."""
    return f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}"
