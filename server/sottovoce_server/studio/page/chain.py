"""A chain of edits: each one's source is a piece of the one before."""

from dataclasses import dataclass

from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.views import AudioView, JobView

LONGEST_CHAIN = 50


@dataclass(frozen=True)
class Step:
    """A piece in the chain.

    Args:
        piece: ID/NUMBER.
        job: the job that made it.
        audio: the piece.
    """

    piece: str
    job: JobView
    audio: AudioView


@dataclass(frozen=True)
class Chain:
    """The chain.

    Args:
        steps: its pieces, the first one first.
        tip: its last piece; a piece before it is what undoing leads to.
        before: what the current piece was made from, if it is still there.
    """

    steps: list[Step]
    tip: str
    before: Step | None


def chain_of(studio: Studio, owner: str, piece: str, tip: str) -> Chain:
    """The chain through a piece, up to its tip.

    Args:
        studio: the studio.
        owner: the caller's token.
        piece: the current piece, ID/NUMBER.
        tip: the last piece; a chain without the current piece is left aside.
    """
    steps = _back(studio, owner, tip or piece)
    if all(each.piece != piece for each in steps):
        tip, steps = piece, _back(studio, owner, piece)
    place = next((n for n, each in enumerate(steps) if each.piece == piece), 0)
    return Chain(steps, tip or piece, steps[place - 1] if place else None)


def _back(studio: Studio, owner: str, piece: str | None) -> list[Step]:
    steps: list[Step] = []
    while piece and len(steps) < LONGEST_CHAIN:
        found = studio.made(piece, owner)
        if found is None:
            break
        job, number = found
        steps.append(Step(piece, job, next(each for each in job.audio if each.number == number)))
        piece = job.source
    return steps[::-1]
