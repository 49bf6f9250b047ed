"""Masked rounds a second time, after docs/protocol.md alone: nothing of Sottovoce is imported, and little is checked.

A label of version 2 does not know what version 3 added: which versions it speaks, and the end of a run.

A label and a coordinator that play honest rounds with the real ones. What the page says is enough, or this breaks.
"""

import hashlib
import os
import struct
from math import comb
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

B16, B32, B48, B64 = (f"b{size}" for size in (16, 32, 48, 64))
BOX = (B48, B16, B16)
ADVERT = (B16, B32, "name", B32, "b1184", B32, B32, "f64", "f64", B64)
REVEAL = (B16, B32, "name", B32, B64)
PREPARATION = (B16, B32, "u32", "name", B32, "blob", [B16], [BOX], B64)
FORMS: dict[int, tuple[Any, ...]] = {
    1: (B16, B32, B32, "blob"),
    2: ADVERT,
    4: (B16, [ADVERT]),
    5: REVEAL,
    6: (B16, [REVEAL]),
    7: (B16, B32, "name", [("name", "b1088")], B64),
    8: (B16, B32, [("name", "b1088")]),
    9: PREPARATION,
    10: (B16, B32, "u32"),
    11: (B16, B32, "u32", "name", B32, "u32", [("name", B32)], ["name"]),
    12: (B16, "u32", B32, "name", "u8", "blob", B32, [BOX], PREPARATION, B64),
    13: (B16, "u32", ["name"]),
    14: (B16, "u32", "name", B64),
    15: (B16, "u32", ["name"], [("name", B64)], [(B32, B48, B16)]),
    16: (B16, "u32", B32, "name", [B32], [("name", B32)], B64),
    17: (B16, B32, "u32", B32, B64),
    18: (B16, B32),
    19: (B16, B32, "name", "u8", "u8", B64),
}
PURPOSES = {2: "advert", 5: "reveal", 7: "ciphertexts", 9: "preparation", 12: "report", 16: "shares", 19: "versions"}


def write(form: Any, value: Any) -> bytes:
    if isinstance(form, tuple):
        return b"".join(write(part, item) for part, item in zip(form, value, strict=True))
    if isinstance(form, list):
        return len(value).to_bytes(4) + b"".join(write(form[0], item) for item in value)
    if form == "name":
        return bytes([len(value)]) + value.encode()
    if form == "blob":
        return len(value).to_bytes(4) + value
    if form == "f64":
        return struct.pack(">d", value)
    return bytes(value) if form[0] == "b" else int(value).to_bytes(int(form[1:]) // 8)


def read(form: Any, data: bytes) -> tuple[Any, bytes]:
    if isinstance(form, tuple):
        values = []
        for part in form:
            value, data = read(part, data)
            values.append(value)
        return tuple(values), data
    if isinstance(form, list):
        count, data = int.from_bytes(data[:4]), data[4:]
        return read(tuple(form * count), data)
    if form == "name":
        end = 1 + data[0]
        return data[1:end].decode(), data[end:]
    if form == "blob":
        end = 4 + int.from_bytes(data[:4])
        return data[4:end], data[end:]
    if form == "f64":
        return struct.unpack(">d", data[:8])[0], data[8:]
    size = int(form[1:]) if form[0] == "b" else int(form[1:]) // 8
    return (data[:size] if form[0] == "b" else int.from_bytes(data[:size])), data[size:]


def encode(version: int, kind: int, *fields: Any) -> bytes:
    return b"SoVo" + bytes([version, kind]) + write(FORMS[kind], fields)


def decode(data: bytes) -> tuple[Any, ...]:
    fields, rest = read(FORMS[data[5]], data[6:])
    assert data[:4] == b"SoVo"
    assert not rest
    return fields


def h(purpose: str, data: bytes) -> bytes:
    return hashlib.sha256(b"sottovoce/2/" + purpose.encode() + b"\x00" + data).digest()


def names(*labels: str) -> bytes:
    return b"".join(write("name", label) for label in labels)


def prg(seed: bytes, elements: int) -> np.ndarray:
    return np.frombuffer(Cipher(AES(seed), CTR(bytes(16))).encryptor().update(bytes(4 * elements)), "<u4")


def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = (a << 1) ^ (0x11B if a & 0x80 else 0), b >> 1
    return product


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if times(a, b) == 1)


def split(secret: bytes, threshold: int, holders: int) -> list[bytes]:
    rows = [secret, *(os.urandom(32) for _ in range(threshold - 1))]
    shares = []
    for x in range(1, holders + 1):
        value = [0] * 32
        for row in reversed(rows):
            value = [times(v, x) ^ c for v, c in zip(value, row, strict=True)]
        shares.append(bytes(value))
    return shares


def combine(points: list[int], shares: list[bytes]) -> bytes:
    secret = [0] * 32
    for x, share in zip(points, shares, strict=True):
        weight = 1
        for other in points:
            if other != x:
                weight = times(weight, times(other, inverse(other ^ x)))
        secret = [s ^ times(weight, v) for s, v in zip(secret, share, strict=True)]
    return bytes(secret)


class Session:
    """What follows from a roster and its nonces."""

    def __init__(self, roster: bytes, reveals: Any) -> None:
        self.version, (self.run, self.adverts) = roster[4], decode(roster)
        nonces = b"".join(reveal[3] for reveal in reveals)
        self.digest = h("session", hashlib.sha256(roster).digest() + nonces)
        self.members = [advert[2] for advert in self.adverts]
        n = len(self.members)
        self.t = 2 * n // 3 + 1
        self.holders, self.enough = self.members, self.t
        if n > 128:
            self.holders = sorted(self.drawn("committee")[:128])
            c = -(-n // 3) - 1
            tail, self.enough = 0, min(c, 128) + 1
            for x in range(min(c, 128), -1, -1):
                tail += comb(c, x) * comb(n - c, 128 - x)
                if tail << 84 > comb(n, 128):
                    break
                self.enough = x

    def drawn(self, purpose: str) -> list[str]:
        return sorted(self.members, key=lambda label: h(purpose, self.digest + label.encode()))

    def partners(self, label: str) -> list[str]:
        n, half = len(self.members), -(-len(self.members) // 3)
        if n <= 64:
            return [other for other in self.members if other != label]
        circle = self.drawn("partners")
        seat = circle.index(label)
        return sorted(circle[(seat + step) % n] for step in range(-half, half + 1) if step)

    def peers(self, label: str) -> list[str]:
        others = self.members if label in self.holders else {*self.partners(label), *self.holders}
        return sorted(set(others) - {label})

    def encapsulates(self, label: str, other: str) -> bool:
        p, q = self.members.index(label), self.members.index(other)
        return (q > p) == (abs(q - p) % 2 == 1)

    def kdf(self, key: bytes, purpose: str, context: bytes = b"") -> bytes:
        info = b"sottovoce/2/" + purpose.encode() + b"\x00" + context
        return HKDF(SHA256(), 32, self.digest, info).derive(key)

    def bound(self, purpose: str, context: bytes, commitment: bytes) -> bytes:
        return b"SoVo\x02" + purpose.encode() + b"\x00" + self.digest + context + commitment


class Label:
    """A label that answers everything it is sent, up to its newest version."""

    def __init__(self, name: str, identity: Ed25519PrivateKey, newest: int = 2, coordinator: bytes = b"") -> None:
        self.name, self.identity, self.newest, self.coordinator = name, identity, newest, coordinator
        self.x, self.k, self.nonce = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate(), os.urandom(32)
        if newest > 2:
            self.nonce = self.nonce[:24] + b"SoVo\x00\x00\x00" + bytes([newest])
        self.links: dict[str, bytes] = {}

    def signed(self, kind: int, *fields: Any) -> bytes:
        body = encode(self.version, kind, *fields, bytes(64))[:-64]
        return body + self.sign(PURPOSES[kind], hashlib.sha256(body).digest())

    def sign(self, purpose: str, digest: bytes) -> bytes:
        return self.identity.sign(b"sottovoce/1/" + purpose.encode() + b"\x00" + digest)

    def answer(self, data: bytes, vector: np.ndarray | None = None) -> bytes:
        m, self.version = decode(data), data[4]
        assert 2 <= self.version <= self.newest or (self.version == 0 and self.newest > 2)
        match data[5]:
            case 18:
                return self.signed(19, m[0], m[1], self.name, 2, self.newest)
            case 17:
                assert self.newest > 2
                over = b"sottovoce/1/run-over\x00" + hashlib.sha256(data[:-64]).digest()
                Ed25519PublicKey.from_public_bytes(self.coordinator).verify(m[4], over)
                return data
            case 1:
                keys = (self.x.public_key().public_bytes_raw(), self.k.public_key().public_bytes_raw())
                return self.signed(2, m[0], m[1], self.name, *keys, h("nonce", self.nonce), m[2], 8.0, 1e-5)
            case 4:
                self.roster = data
                return self.signed(5, m[0], hashlib.sha256(data).digest(), self.name, self.nonce)
            case 6:
                return self.encapsulate(m[1])
            case 8:
                for sender, ciphertext in m[2]:
                    self.link(sender, self.k.decapsulate(ciphertext), ciphertext)
                return self.prepare(1)
            case 10:
                return self.prepare(m[2])
            case 11:
                assert vector is not None
                return self.report(data, m, vector)
            case 13:
                self.survivors_digest = h("survivors", self.request + write(["name"], m[2]))
                return encode(self.version, 14, m[0], m[1], self.name, self.sign("cross-check", self.survivors_digest))
        return self.unmask(m)

    def encapsulate(self, reveals: Any) -> bytes:
        self.s = s = Session(self.roster, reveals)
        self.theirs = {advert[2]: advert for advert in s.adverts}
        made = []
        for peer in s.peers(self.name):
            if s.encapsulates(self.name, peer):
                secret, ciphertext = MLKEM768PublicKey.from_public_bytes(self.theirs[peer][4]).encapsulate()
                self.link(peer, secret, ciphertext)
                made.append((peer, ciphertext))
        return self.signed(7, s.run, s.digest, self.name, made)

    def link(self, peer: str, secret: bytes, ciphertext: bytes) -> None:
        agreed = self.x.exchange(X25519PublicKey.from_public_bytes(self.theirs[peer][3]))
        context = names(*sorted((self.name, peer))) + hashlib.sha256(ciphertext).digest()
        self.links[peer] = self.s.kdf(agreed + secret, "pair", context)

    def at(self, peer: str, r: int) -> bytes:
        link = self.links[peer]
        for _ in range(r - 1):
            link = h("link", self.s.digest + link)
        return link

    def round_key(self, peer: str, r: int) -> bytes:
        return self.s.kdf(self.at(peer, r), "round", r.to_bytes(4) + names(*sorted((self.name, peer))))

    def share(self, r: int, purpose: str, request: bytes = b"") -> tuple[bytes, bytes, list[Any]]:
        s, secret = self.s, os.urandom(32)
        commitment, boxes = h("secret", secret), []
        for holder, value in zip(s.holders, split(secret, s.enough, len(s.holders)), strict=True):
            if holder == self.name:
                self.own = value
                continue
            context = r.to_bytes(4) + names(self.name, holder) + request
            key = s.kdf(self.at(holder, r), purpose, context)
            sealed = ChaCha20Poly1305(key).encrypt(commitment[:12], value, s.bound(purpose, context, commitment))
            boxes.append((sealed, h("share-tag", value)[:16], h("key-tag", key)[:16]))
        return secret, commitment, boxes

    def prepare(self, r: int) -> bytes:
        s, own = self.s, getattr(self, "own", b"")
        d, commitment, boxes = self.share(r, "seal-preparation")
        self.own = own  # of d nobody needs its own share
        keys = [self.round_key(partner, r) for partner in s.partners(self.name)]
        context = r.to_bytes(4) + names(self.name)
        cipher = ChaCha20Poly1305(s.kdf(d, "vault", context))
        vault = cipher.encrypt(commitment[:12], b"".join(keys), s.bound("vault", context, commitment))
        tags = [h("pair-tag", key)[:16] for key in keys]
        return self.signed(9, s.run, s.digest, r, self.name, commitment, vault, tags, boxes)

    def report(self, data: bytes, m: Any, vector: np.ndarray) -> bytes:
        s, r = self.s, m[2]
        self.request, self.participants = hashlib.sha256(data).digest(), [label for label, _ in m[6]]
        secret, commitment, boxes = self.share(r, "seal-report", self.request)
        total = vector + prg(s.kdf(secret, "self-mask", self.request), vector.size)
        for partner in set(s.partners(self.name)) & set(self.participants):
            mask = prg(s.kdf(self.round_key(partner, r), "mask", self.request), vector.size)
            total = total + mask if partner > self.name else total - mask
        following = decode(self.prepare(r + 1))
        body = (s.run, r, self.request, self.name, 32, total.tobytes(), commitment, boxes, following)
        return self.signed(12, *body)

    def unmask(self, m: Any) -> bytes:
        s, r, survivors = self.s, m[1], m[2]
        digest, boxes, values = h("survivors", self.request + write(["name"], survivors)), iter(m[4]), []
        for sender in self.participants:
            if sender == self.name:
                values.append(self.own)
                continue
            commitment, sealed, _ = next(boxes)
            purpose, request = ("seal-report", self.request) if sender in survivors else ("seal-preparation", b"")
            context = r.to_bytes(4) + names(sender, self.name) + request
            cipher = ChaCha20Poly1305(s.kdf(self.at(sender, r), purpose, context))
            values.append(cipher.decrypt(commitment[:12], sealed, s.bound(purpose, context, commitment)))
        return self.signed(16, s.run, r, digest, self.name, values, [])
