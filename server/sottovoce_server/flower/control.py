"""Requests of the coordinator's commands to a running SuperLink: start, list and stop runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, StartRunRequest, StopRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce_server.flower.superlink import LOOPBACK
from sottovoce_server.home.coordinator_home import ServerHome, port_of

ONLINE = "online"
FINISHED = "finished"


@dataclass(frozen=True)
class FlowerRun:
    """A run in the SuperLink.

    Args:
        number: Flower's run number.
        name: our run's id (hexadecimal), or "" for a run that is not ours.
        status: `pending`, `starting`, `running` or `finished`.
        outcome: `completed`, `failed`, `stopped`, or "" while it is not finished.
        details: details from Flower.
    """

    number: int
    name: str
    status: str
    outcome: str
    details: str

    @property
    def over(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.status == FINISHED


class SuperLinkGone(SottovoceError):
    """The SuperLink does not respond."""


class Control:
    """A connection to the SuperLink of a coordinator's home."""

    def __init__(self, client: ControlHttpClient) -> None:
        self._client = client

    def start(self, bundle: bytes, digest: str, run: str) -> int:
        """Submit a run.

        Args:
            bundle: a Flower App Bundle.
            digest: SHA-256 of it (hexadecimal).
            run: our run's id (hexadecimal), which the app finds in its configuration.

        Returns:
            Flower's run number.
        """
        request = StartRunRequest(
            fab=fab_to_proto(Fab(digest, bundle, {})), override_config=user_config_to_proto({"run": run})
        )
        with _explained():
            response = self._client.StartRun(request)
        if not response.HasField("run_id"):
            raise SuperLinkGone("The SuperLink did not start the run.")
        return int(response.run_id)

    def runs(self) -> list[FlowerRun]:
        """All runs that the SuperLink knows, newest first."""
        with _explained():
            found = self._client.ListRuns(ListRunsRequest()).run_dict.values()
        return [
            FlowerRun(
                number=int(run.run_id),
                name=run.override_config["run"].string if "run" in run.override_config else "",
                status=run.status.status,
                outcome=run.status.sub_status,
                details=run.status.details,
            )
            for run in sorted(found, key=lambda run: run.pending_at, reverse=True)
        ]

    def run(self, number: int) -> FlowerRun | None:
        """One run, or None for an unknown number."""
        return next((run for run in self.runs() if run.number == number), None)

    def stop(self, number: int) -> bool:
        """Stop a run; return whether it could be stopped."""
        with _explained():
            return bool(self._client.StopRun(StopRunRequest(run_id=number)).success)

    def online(self) -> int:
        """Number of connected nodes."""
        with _explained():
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        return sum(node.status == ONLINE for node in nodes)


class _Token:
    """Adds the token to every request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the token."""
        context.request.headers["Authorization"] = f"Bearer {self._token}"
        return call_next(context)


@contextmanager
def connected(home: ServerHome) -> Iterator[Control]:
    """A connection to the SuperLink of a home, on this machine.

    Raises:
        SuperLinkGone: it is not running, or does not respond.
    """
    port = port_of(home.invitation().superlink)
    client = ControlHttpClient.from_server_address(
        server_address=f"{LOOPBACK}:{port}",
        insecure=False,
        root_certificates=home.authority_file.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI"), _Token(home.token())],
    )
    try:
        yield Control(client)
    finally:
        client.close()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise ConfigurationError(
                "The SuperLink does not accept this home's token.",
                hint="It was started for another home: stop it, and start it for this one.",
            ) from None
        raise SuperLinkGone(f"The SuperLink refused the request ({error.response.status_code}).") from None
    except httpx.HTTPError as error:
        raise SuperLinkGone(
            f"The SuperLink does not respond ({type(error).__name__}).", hint="Start it with: sottovoce server start"
        ) from None
