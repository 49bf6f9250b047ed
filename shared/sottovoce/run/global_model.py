"""The model of a run, computed from its initial parameters and one sum after another.

Coordinator and labels each compute their own. A round's request names its digest, and a label co-signs the digest of
its own model, so nobody can substitute other parameters.

    model = GlobalModel.start(config, run=..., labels=..., trainable=..., first=...)
    model.follow(sum of round 1); model.follow(sum of round 2); ...
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sottovoce.canonical import canonical_json
from sottovoce.errors import LocalProtocolError
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.violations import ImplausibleSum, UnfollowedParameters, WrongParameters
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.decoded_sum import SumDecoder
from sottovoce.run.records import clip_follows, parameters_digest
from sottovoce.run.round_sum import RoundSum
from sottovoce.run.server_optimizer import ServerOptimizer

VERSION = 1
"""Version of a saved model's format."""
_PARAMETERS, _STATE, _OPTIMIZER, _DECODER = "parameters", "state", "optimizer/", "decoder/"
_CHECKSUM_BYTES = 4


class GlobalModel:
    """Parameters, the optimiser's moments and the clip after some rounds of a run. Create by `start` or `from_bytes`.

    Args:
        config: the run's configuration.
        run: the run's id, 16 bytes.
        labels: number of labels in the federation.
        trainable: mask of the parameters that the run trains, bool `[P]`.
        parameters: `[P]`.
    """

    def __init__(
        self,
        config: RunConfiguration,
        *,
        run: bytes,
        labels: int,
        trainable: NDArray[np.bool_],
        parameters: NDArray[np.float32],
    ) -> None:
        self.parameters = parameters
        """Parameters after the applied rounds, float32 `[P]`; never changed in place."""
        self.ring = Ring(config.ring_bits)
        """Ring of the sums."""
        self._followed: list[bytes] = []
        self._config = config
        self._trainable = trainable
        self._moved = int(trainable.sum())
        self._optimizer = ServerOptimizer(config, self._moved)
        self._decoder = None
        if config.distributed:
            self._decoder = SumDecoder(config, DistributedDiscreteGaussian.of(config, self._moved, labels), run)

    @classmethod
    def start(
        cls,
        config: RunConfiguration,
        *,
        run: bytes,
        labels: int,
        trainable: NDArray[np.bool_],
        first: NDArray[np.float32],
    ) -> Self:
        """The model before the first round.

        Raises:
            WrongParameters: the initial parameters have another length than the model's, or are not finite.
            UnfollowedParameters: they do not match the configuration.
        """
        if first.shape != trainable.shape or first.dtype != np.float32:
            raise WrongParameters(
                f"Expected {trainable.size} initial parameters for the run's model, got {first.size}."
            )
        if parameters_digest(first).hex() != config.first_parameters:
            raise UnfollowedParameters("The run's initial parameters do not match its configuration.")
        if not np.isfinite(first).all():
            raise WrongParameters("The run's initial parameters contain a number that is not finite.")
        return cls(config, run=run, labels=labels, trainable=trainable, parameters=first)

    @property
    def rounds(self) -> int:
        """Number of applied rounds, including aborted ones."""
        return len(self._followed)

    @property
    def clip(self) -> float:
        """L2 bound on one unit's vector in the next round."""
        return self._decoder.clip if self._decoder else self._config.max_grad_norm

    @property
    def coordinates(self) -> int:
        """Number of coordinates of a round's sum: one per trained parameter, and the count for an adaptive clip."""
        return self._moved + clip_follows(self._config)

    @property
    def digest(self) -> bytes:
        """The digest that the next round's request names: SHA-256 of the parameters and, if adaptive, the clip."""
        return parameters_digest(self.parameters, self.clip if clip_follows(self._config) else None)

    def follow(self, total: RoundSum) -> None:
        """Apply the next round. A sum that is refused changes nothing.

        Raises:
            ImplausibleSum: honest labels cannot have produced this sum, or it repeats an earlier noised one.
            WrongParameters: it belongs to another round, or has another length.
        """
        digest = total.digest(self.ring)
        if total.round != self.rounds + 1:
            raise WrongParameters(f"The sum of round {total.round} does not follow round {self.rounds}.")
        if self._config.private and not total.is_aborted and digest in self._followed:
            raise ImplausibleSum("A round's noised sum repeats that of an earlier round.")
        if total.is_aborted:
            if self._decoder:
                self._decoder.skip()
        else:
            self._move(self._update(total), total.round)
        self._followed.append(digest)

    def has_followed(self, total: RoundSum) -> bool:
        """Whether exactly this sum was applied as its round."""
        return total.round <= self.rounds and self._followed[total.round - 1] == total.digest(self.ring)

    def to_bytes(self) -> bytes:
        """The state for `from_bytes`: safetensors, and a checksum against damage."""
        arrays = {
            _PARAMETERS: self.parameters,
            _STATE: np.frombuffer(canonical_json({"version": VERSION, "followed": self._followed}), np.uint8),
            **{_OPTIMIZER + name: value for name, value in self._optimizer.state().items()},
            **{_DECODER + name: value for name, value in (self._decoder.state() if self._decoder else {}).items()},
        }
        body = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        return body + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES)

    @classmethod
    def from_bytes(
        cls, data: bytes, config: RunConfiguration, *, run: bytes, labels: int, trainable: NDArray[np.bool_]
    ) -> Self:
        """Restore the model from `to_bytes`; the other arguments must equal those of `start`.

        Raises:
            LocalProtocolError: the bytes are damaged, or belong to another version or run.
        """
        body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        try:
            if zlib.crc32(body).to_bytes(_CHECKSUM_BYTES) != checksum:
                raise ValueError
            arrays = load(body)
            state = json.loads(arrays.pop(_STATE).tobytes())
            parameters = arrays.pop(_PARAMETERS)
            if state["version"] != VERSION or parameters.shape != trainable.shape:
                raise ValueError
            model = cls(config, run=run, labels=labels, trainable=trainable, parameters=parameters)
            model._followed = [bytes.fromhex(digest) for digest in state["followed"]]
            model._optimizer.restore(_below(_OPTIMIZER, arrays))
            if model._decoder:
                model._decoder.restore(_below(_DECODER, arrays))
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise LocalProtocolError(
                "A saved model of a run is damaged, or of another version.", hint="Abandon the run, or begin a new one."
            ) from None
        return model

    def _update(self, total: RoundSum) -> NDArray[np.float32]:
        """The update from a sum, `[moved]`."""
        config = self._config
        layout = VectorLayout.for_round(config, Kind.TRAIN, self.coordinates, 0, total.participants)
        if total.vector.shape != (layout.parameters,):
            raise WrongParameters(f"A sum has {total.vector.size} coordinates instead of {layout.parameters}.")
        if self._decoder is None:
            return layout.mean(total.vector, total.survivors)
        integers = layout.integers(total.vector)
        self._decoder.check(integers, total.survivors)
        return self._decoder.update(integers, total.round, total.survivors)

    def _move(self, update: NDArray[np.float32], round_number: int) -> None:
        if self._moved == self.parameters.size:
            self.parameters = self._optimizer.step(self.parameters, update, round_number)
            return
        whole = self.parameters.copy()
        whole[self._trainable] = self._optimizer.step(whole[self._trainable], update, round_number)
        self.parameters = whole


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
