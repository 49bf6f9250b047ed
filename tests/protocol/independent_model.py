"""The model of a run, followed by sums, a second time after docs/protocol.md alone: it imports nothing of ours."""

import hashlib
import math
import struct
from typing import Any

import numpy as np
from independent import prg

F32 = np.float32


def packed(data: bytes, bits: int) -> list[int]:
    size = bits // 8
    return [int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size)]


def norm(values: np.ndarray) -> float:
    width = 2 ** math.ceil(math.log2(min(16384, len(values))))
    places = [0.0] * width
    for index, value in enumerate(values):
        places[index % width] += float(value) * float(value)
    while len(places) > 1:
        half = len(places) // 2
        places = [a + b for a, b in zip(places[:half], places[half:], strict=True)]
    return math.sqrt(places[0])


def transform(values: np.ndarray) -> np.ndarray:
    k = int(math.log2(len(values)))
    low, found = 2 ** (k // 2), values.copy()
    for distance in [low * 2**i for i in range(k - k // 2)] + [2**i for i in range(k // 2)]:
        for index in range(len(values)):
            if not index & distance:
                a, b = found[index], found[index + distance]
                found[index], found[index + distance] = a + b, a - b
    return found * F32(1 / math.sqrt(len(values)))


def exponential(z: float) -> float:
    value = 1.0
    for term in range(20, 0, -1):
        value = 1 + value * z / term
    return value


def power(base: float, exponent: int) -> float:
    value = 1.0
    for bit in reversed(f"{exponent:b}"):
        value = value * base if bit == "1" else value
        base = base * base
    return value


class Model:
    """Of a run with this configuration (its JSON), among so many labels."""

    def __init__(self, config: dict[str, Any], run: bytes, labels: int, first: np.ndarray) -> None:
        assert hashlib.sha256(first.astype("<f4").tobytes()).hexdigest() == config["first_parameters"]
        self.c, self.run, self.labels, self.theta = config, run, labels, first.copy()
        self.d, self.t, self.clip = len(first), 0, config["max_grad_norm"]
        self.p = self.q = np.zeros(self.d, F32)
        self.noise = config["distributed"]
        banded = self.noise and self.noise["banded"]
        self.coefficients = banded["coefficients"] if banded else [1]
        self.earlier: list[np.ndarray] = []

    def digest(self) -> str:
        data = self.theta.astype("<f4").tobytes()
        follows = self.noise and self.noise["clip_quantile"]
        return hashlib.sha256(data + (struct.pack("<d", self.clip) if follows else b"")).hexdigest()

    def follow(self, data: bytes) -> None:
        self.t += 1
        n, survivors = struct.unpack(">II", data[:8])
        if not survivors:
            self.earlier.insert(0, np.zeros(self.d))
            return
        y = packed(data[8:], self.c["ring_bits"])
        update = self.whole(y, survivors) if self.noise else self.mean(y, n, survivors)
        self.step([float(value) for value in update])

    def mean(self, y: list[int], n: int, survivors: int) -> list[np.float32]:
        m = min(24, self.c["ring_bits"] - math.ceil(math.log2(n)))
        r = self.c["update_clip"] * min(1.0, 16 / math.sqrt(self.d))
        step = 2 * r / (2**m - 2)
        return [F32((value / survivors - (2**m - 2) // 2) * step) for value in y]

    def scale(self) -> int:
        c, noise, d, s = self.c, self.noise, self.d, 2**20

        def bound(s: int) -> float:
            return min((s + math.sqrt(d)) ** 2, s**2 + d / 4 + 4 * (s + math.sqrt(d) / 2))

        while math.sqrt(bound(s // 2)) <= 1.001 * (s // 2):
            s //= 2
        room = (2 ** (c["ring_bits"] - 1) - 1) // self.labels
        while True:
            above = noise["clip_quantile"] and max(noise["clip_quantile"], 1 - noise["clip_quantile"])
            squared = math.floor(bound(s)) + (round(0.1 * s * above) ** 2 if above else 0)
            energy = 1
            if noise["banded"]:
                times = -(-c["rounds"] // noise["banded"]["min_separation"])
                energy = times * sum(value**2 for value in self.coefficients)
            v = noise["noise_multiplier"] ** 2 * squared * energy / noise["min_honest"]
            free = (room - math.ceil(14 * math.sqrt(v))) // sum(map(abs, self.coefficients))
            if min(free, max(8, c["batch_size"]) * s) >= 8 * s:
                return s
            s //= 2

    def whole(self, y: list[int], survivors: int) -> np.ndarray:
        c, d, s, bits = self.c, self.d, self.scale(), self.c["ring_bits"]
        x = np.array([value - 2**bits if value >= 2 ** (bits - 1) else value for value in y], np.int64)
        g = x[:d].astype(np.float64)
        for coefficient, before in zip(self.coefficients[1:], self.earlier, strict=False):
            g = g - coefficient * before
        g = g / self.coefficients[0]
        self.earlier.insert(0, g)
        number = 0 if len(self.coefficients) > 1 else self.t
        seed = hashlib.sha256(b"sottovoce/1/rotation\x00" + self.run + number.to_bytes(4)).digest()
        stream = prg(seed, d).tobytes()
        bits_of = [(stream[i // 8] >> (7 - i % 8)) & 1 for i in range(2 * d)]
        signs = np.array([-1 if bit else 1 for bit in bits_of], F32).reshape(2, d)
        v, m = (g / s).astype(F32), 2 ** int(math.log2(d))
        if m < d:
            v[d - m :] = transform(v[d - m :])
            v = v * signs[1]
        v[:m] = transform(v[:m])
        of_labels = c["unit"] == "label"
        v = v * signs[0] * F32(self.clip) * F32(1 / survivors if of_labels else -c["learning_rate"] / c["batch_size"])
        if length := norm(v):
            v = v * F32(min(1.0, c["update_clip"] / length))
        if self.noise["clip_quantile"]:
            share = int(x[d]) / (0.1 * s) / (survivors if of_labels else c["batch_size"])
            clip = self.clip * exponential(-0.3 * max(-1.0, min(1.0, share)))
            self.clip = min(max(clip, 1e-6), 1e6)
        return v

    def step(self, u: list[float]) -> None:
        c, rate = self.c, self.c["server_learning_rate"]
        b1, b2, tau = c["server_beta_1"], c["server_beta_2"], c["server_tau"]
        if c["server_optimizer"] == "fedadam":
            rate = rate * math.sqrt(1 - power(b2, self.t + 1)) / (1 - power(b1, self.t + 1))
        self.p, self.q = self.p.copy(), self.q.copy()
        for i, value in enumerate(u):
            p, q, change = float(self.p[i]), float(self.q[i]), value
            if c["server_optimizer"] == "fedavgm":
                self.p[i] = c["server_momentum"] * p + value
                change = float(self.p[i])
            if c["server_optimizer"] in ("fedadam", "fedyogi"):
                square = value * value
                self.p[i] = b1 * p + (1 - b1) * value
                sign = (q > square) - (q < square)
                adam = c["server_optimizer"] == "fedadam"
                self.q[i] = b2 * q + (1 - b2) * square if adam else q - (1 - b2) * square * sign
                change = float(self.p[i]) / (math.sqrt(float(self.q[i])) + tau)
            self.theta[i] = change * rate + float(self.theta[i])
