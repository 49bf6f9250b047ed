"""What a SuperLink of ours answers to strangers who reach its port."""

import signal
import socket
from contextlib import suppress

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.control_pb2 import ListRunsRequest, RegisterNodeRequest, StartRunRequest, StopRunRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from sottovoce.errors import ConfigurationError
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.flower.control import SuperLinkGone, connected
from sottovoce_server.home.coordinator_home import ServerHome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def served(tmp_path_factory, program, eventually):
    """A running SuperLink's home."""
    from sottovoce.federation.enrolment import Enrolment
    from sottovoce.federation.identity import Identity

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = ServerHome.create(tmp_path_factory.mktemp("s") / "server", federation="isles", address=f"127.0.0.1:{port}")
    for name in ("east", "north", "south"):
        home.enrol(
            Enrolment.sign(Identity.generate(), name=name, node_key=NodeKey.generate().public, federation="isles")
        )
    home.sign()
    process = program("server", "start", "--home", home.root, "--host", "127.0.0.1")

    def answers():
        with suppress(SuperLinkGone), connected(home) as control:
            return [control.runs()]

    eventually(answers, "the SuperLink answers", alive=process.alive)
    yield home
    process.signal(signal.SIGTERM)
    process.wait()


@pytest.fixture
def post(served):
    address = served.invitation().superlink

    def posted(path, request, **headers):
        headers = {"content-type": PROTOBUF_MEDIA_TYPE, "accept": PROTOBUF_MEDIA_TYPE, **VERSIONS, **headers}
        with httpx.Client(verify=str(served.authority_file), timeout=60) as client:
            return client.post(f"https://{address}/v1/{path}", content=request.SerializeToString(), headers=headers)

    return posted


VERSIONS = dict(RuntimeVersionHttpInterceptor(component_name="flwr CLI")._metadata.as_metadata())


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("control/start-run", StartRunRequest()),
        ("control/list-runs", ListRunsRequest()),
        ("control/stop-run", StopRunRequest(run_id=1)),
        ("control/register-node", RegisterNodeRequest(public_key=b"x")),
    ],
)
@pytest.mark.parametrize("shown", [None, "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x"])
def test_control_needs_the_token(served, post, path, request_, shown):
    headers = {} if shown is None else {"authorization": shown.format(token=served.token())}
    assert post(path, request_, **headers).status_code == 401


def test_the_token_opens_control(served, post):
    answer = post("control/list-runs", ListRunsRequest(), authorization=f"Bearer {served.token()}")
    assert answer.status_code == 200


def test_a_task_is_given_to_our_own_process_only(post):
    assert post("runtime/acquire-task", AcquireTaskRequest(supported_task_types=["flwr-serverapp"])).status_code == 401


def test_a_home_with_another_token_gets_an_explanation(served, tmp_path, monkeypatch):
    monkeypatch.setattr(ServerHome, "token", lambda _: "another")
    with connected(served) as control, pytest.raises(ConfigurationError, match="does not accept this home's token"):
        control.runs()


def test_the_nodes_are_the_enrolled_labels(served):
    from flwr.proto.control_pb2 import ListNodesRequest

    with connected(served) as control:
        nodes = control._client.ListNodes(ListNodesRequest()).nodes_info
        assert control.online() == 0
    assert len(nodes) == 3


def test_a_node_that_nobody_enrolled_is_refused(served, post):
    """With a key of its own and a signature that holds, as a SuperNode would come."""
    import base64

    from cryptography.hazmat.primitives import hashes
    from flwr.common.constant import TIMESTAMP_HEADER
    from flwr.proto.fleet_pb2 import ActivateNodeRequest, RegisterNodeFleetRequest
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.date import now

    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    moment = now().isoformat()
    headers = {
        FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(public).decode(),
        FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(key.sign(moment.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
        TIMESTAMP_HEADER: moment,
    }
    for path, request in (
        ("fleet/register-node", RegisterNodeFleetRequest(public_key=public)),
        ("fleet/activate-node", ActivateNodeRequest(public_key=public, heartbeat_interval=30)),
    ):
        answer = post(path, request, **headers)
        assert answer.status_code in (401, 403, 404, 412), (path, answer.status_code, answer.text)
        assert "SuperNode" in answer.text, answer.text
    with connected(served) as control:
        assert control.online() == 0
