"""Limits on what a caller of the SuperLink may send, based on the request's headers."""

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TASK_TOKEN_HEADER
from starlette.types import Scope

from sottovoce_server.ports.bounded_body import STRANGERS_BODY

LARGEST_BODY = 2 << 30
"""Largest body from a label's node, or from the coordinator's own processes, bytes: the limit of protocol buffers."""
CONTROL_BODY = 1 << 20
"""Largest body for the Control API, bytes: a run's bundle contains configuration only."""
SIGNED_SECONDS = 3600.0
"""Largest age of a node's signature, seconds; Flower itself then requires less."""


class Callers:
    """Recognises the members' nodes, by the keys that sign each request, and the coordinator's own processes.

    Args:
        node_keys: the members' node keys, as PEM (SubjectPublicKeyInfo).
        is_task: whether a token belongs to a task of the coordinator's processes.
    """

    def __init__(self, node_keys: Iterable[bytes], is_task: Callable[[str], bool]) -> None:
        self._is_task = is_task
        self._keys = {base64.b64encode(key): load_pem_public_key(key) for key in node_keys}

    def largest_body(self, scope: Scope) -> int:
        """Largest body of a request, bytes; called before any of the body is read."""
        path: str = scope["path"]
        if path.startswith("/v1/fleet/"):
            return LARGEST_BODY if self._is_member(scope["headers"]) else STRANGERS_BODY
        if path.startswith("/v1/runtime/"):
            token = dict(scope["headers"]).get(TASK_TOKEN_HEADER.encode())
            return LARGEST_BODY if token and self._is_task(token.decode("latin-1")) else STRANGERS_BODY
        return CONTROL_BODY if path.startswith("/v1/control/") else STRANGERS_BODY

    def _is_member(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request is signed by a member's node: a timestamp of the last hour, under a known key."""
        shown = dict(headers)
        key: Any = self._keys.get(shown.get(FLEET_HTTP_PUBLIC_KEY_HEADER.encode(), b""))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        try:
            moment = shown[TIMESTAMP_HEADER.encode()]
            signed_at = dt.datetime.fromisoformat(moment.decode("ascii"))
            signature = base64.b64decode(shown[FLEET_HTTP_SIGNATURE_HEADER.encode()], validate=True)
            age = (dt.datetime.now(dt.UTC) - signed_at).total_seconds()
            key.verify(signature, moment, ec.ECDSA(hashes.SHA256()))
        except (KeyError, ValueError, TypeError, binascii.Error, InvalidSignature):
            return False
        return abs(age) < SIGNED_SECONDS
