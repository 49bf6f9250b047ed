"""The coordinator of `independent`: an honest one, which opens one round over labels that may drop out."""

import hashlib
import os
from collections.abc import Callable, Mapping

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from independent import Session, combine, decode, encode, h, names, prg

Ask = Callable[[str, bytes], bytes]


def set_up(
    ask: Ask, labels: list[str], agreement: bytes, configuration: bytes, version: int = 2
) -> tuple[Session, dict[str, bytes]]:
    """A session of these labels, in ascending order, and their preparations for round 1."""
    run, digest = os.urandom(16), hashlib.sha256(configuration).digest()
    adverts = [decode(ask(label, encode(version, 1, run, agreement, digest, configuration))) for label in labels]
    roster = encode(version, 4, run, adverts)
    reveals = [decode(ask(label, roster)) for label in labels]
    session = Session(roster, reveals)
    made = {label: dict(decode(ask(label, encode(version, 6, run, reveals)))[3]) for label in labels}
    pairings = {
        label: [(sender, dict(made[sender])[label]) for sender in labels if label in dict(made[sender])]
        for label in labels
    }
    return session, {label: ask(label, encode(version, 8, run, session.digest, pairings[label])) for label in labels}


def play(
    ask: Ask, session: Session, r: int, prepared: Mapping[str, bytes], gone: list[str], elements: int, parameters: bytes
) -> np.ndarray:
    """The sum of a round from which some labels vanish before they report."""
    run, everyone = session.run, sorted(prepared)
    listed = [(label, hashlib.sha256(prepared[label]).digest()) for label in everyone]
    request = encode(session.version, 11, run, session.digest, r, "train", parameters, elements, listed, [])
    name = hashlib.sha256(request).digest()
    reports = {label: decode(ask(label, request)) for label in everyone if label not in gone}
    alive = sorted(reports)
    total = sum((np.frombuffer(report[5], "<u4") for report in reports.values()), np.zeros(elements, "<u4"))
    signatures = [(label, decode(ask(label, encode(session.version, 13, run, r, alive)))[3]) for label in alive]
    sources = {label: (reports[label][6], reports[label][7]) for label in alive}
    sources |= {label: (decode(prepared[label])[4], decode(prepared[label])[7]) for label in gone}
    shares = {}
    for holder in (label for label in session.holders if label in alive):
        boxes = []
        for sender in everyone:
            if sender != holder:
                sealed, tag, _ = sources[sender][1][[x for x in session.holders if x != sender].index(holder)]
                boxes.append((sources[sender][0], sealed, tag))
        shares[holder] = decode(ask(holder, encode(session.version, 15, run, r, alive, signatures, boxes)))[4]
    givers = list(shares)[-session.enough :]
    points = [session.holders.index(holder) + 1 for holder in givers]
    for place, label in enumerate(everyone):
        secret = combine(points, [shares[holder][place] for holder in givers])
        assert h("secret", secret) == sources[label][0]
        if label in alive:
            total = total - prg(session.kdf(secret, "self-mask", name), elements)
            continue
        vault, context = decode(prepared[label])[5], r.to_bytes(4) + names(label)
        cipher = ChaCha20Poly1305(session.kdf(secret, "vault", context))
        keys = cipher.decrypt(sources[label][0][:12], vault, session.bound("vault", context, sources[label][0]))
        for number, partner in enumerate(session.partners(label)):
            if partner in alive:
                mask = prg(session.kdf(keys[32 * number : 32 * number + 32], "mask", name), elements)
                total = total - mask if label > partner else total + mask
    return total
