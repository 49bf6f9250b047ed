"""The label's interface to Flower: frames in, frames out; nothing else leaves, in particular no traceback."""

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from sottovoce.errors import ProtocolError
from sottovoce.protocol.violations import Downgraded, WrongParameters, WrongVersion
from sottovoce.run.records import ADVERT, FRAME, PARAMETERS, RECORD, ROUNDS, SUMS, Action, Carried, OwnWords

if TYPE_CHECKING:
    from flwr.clientapp.typing import Mod

    from sottovoce_client.rounds.label import Label

LOG = getLogger(__name__)
DECLINED = 400
UNAVAILABLE = 503


def client_app(label_of: "Callable[[Context], Label]", *, mods: "Sequence[Mod]" = ()) -> ClientApp:
    """The Flower app of a label.

    Args:
        label_of: finds the label for a node's context.
        mods: Flower's wrappers around each message; simulations use one to drop labels out.
    """
    app = ClientApp(mods=list(mods))

    def answer(message: Message, context: Context) -> Message:
        # Flower puts an exception's whole text into the reply, including any path or name that it quotes. So every
        # failure is reported by its class name alone.
        try:
            frame = message.content.config_records[RECORD][FRAME]
            label = label_of(context)
            if message.metadata.message_type == Action.COSIGN:
                reply = label.cosign(bytes(frame))  # type: ignore[arg-type]
            else:
                reply = label.answer(bytes(frame), _carried(message.content))  # type: ignore[arg-type]
        except ProtocolError as error:
            # Words that a version is named in are ours, and name nothing else.
            words = error.message if isinstance(error, WrongVersion | Downgraded) else type(error).__name__
            LOG.warning("Declined a message: %s", words)
            return Message(Error(DECLINED, type(error).__name__), reply_to=message)
        except Exception as error:
            LOG.error("Cannot answer a message: %s", type(error).__name__)
            LOG.debug("Traceback, for the label only:", exc_info=True)
            return Message(Error(UNAVAILABLE, "unavailable"), reply_to=message)
        return Message(RecordDict({RECORD: ConfigRecord({FRAME: reply})}), reply_to=message)

    for action in Action:
        category, name = action.value.split(".")
        getattr(app, category)(name)(answer)
    return app


def _carried(content: RecordDict) -> Carried:
    """The data sent along with a message.

    Raises:
        WrongParameters: it has another form.
    """
    try:
        first = [array.numpy() for array in content.array_records.get(PARAMETERS, ArrayRecord()).values()]
        found = {int(name): array.numpy() for name, array in content.array_records.get(SUMS, ArrayRecord()).items()}
        if any(array.ndim != 1 or array.dtype != np.uint8 for array in found.values()):
            raise TypeError
        sums = {number: np.ascontiguousarray(array).data for number, array in found.items()}
        config = content.config_records[RECORD]
        advert, rounds = config.get(ADVERT), config.get(ROUNDS, [])
        if not isinstance(advert, bytes | None) or not isinstance(rounds, list):
            raise TypeError
        own = None if advert is None else OwnWords(advert, tuple(int(number) for number in rounds))
    except (ValueError, TypeError):
        raise WrongParameters(
            "A message contains something other than parameters, sums or this label's words."
        ) from None
    return Carried(first[0] if first else None, sums, own)
