"""The recipe for nginx in docs/deploy works as written, but for its ports and paths."""

import re
import shutil
import ssl
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from sottovoce_server.home.certificates import make_authority, make_server_certificate

RECIPE = Path(__file__).parents[2] / "docs/deploy/nginx.conf"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

pytestmark = pytest.mark.skipif(
    not (shutil.which("nginx") and STREAM.exists()), reason="nginx and libnginx-mod-stream are not installed"
)


class Upstream(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = self.headers["X-Forwarded-For"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as probe:
        return probe.server_port


@pytest.fixture
def proxied(tmp_path):
    """A registry behind the recipe's http part, and the same port behind its stream part: (https port, stream port)."""
    authority_key, authority, key, certificate = (tmp_path / name for name in ("ca.key", "ca.pem", "key", "pem"))
    make_authority(authority_key, authority)
    make_server_certificate(
        "localhost", authority_key=authority_key, authority=authority, key_file=key, file=certificate
    )
    outside, through = free_port(), free_port()
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as upstream:
        Thread(target=upstream.serve_forever, daemon=True).start()
        recipe = RECIPE.read_text()
        for what, instead in {
            "listen 443": f"listen 127.0.0.1:{outside}",
            "listen 9092": f"listen 127.0.0.1:{through}",
            "127.0.0.1:8470": f"127.0.0.1:{upstream.server_port}",
            "127.0.0.1:9093": f"127.0.0.1:{outside}",
            "/etc/sottovoce/fullchain.pem": str(certificate),
            "/etc/sottovoce/privkey.pem": str(key),
        }.items():
            assert what in recipe
            recipe = recipe.replace(what, instead)
        if "load_module" not in "".join(path.read_text() for path in Path("/etc/nginx/modules-enabled").glob("*.conf")):
            recipe = f"load_module {STREAM};\n" + recipe
        (tmp_path / "nginx.conf").write_text(f"daemon off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/log;\n{recipe}")
        command = ["nginx", "-c", str(tmp_path / "nginx.conf")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "pid").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        yield outside, through, authority
        process.terminate()
        process.wait()
        upstream.shutdown()


def test_requests_pass_with_their_callers_address_and_large_headers_do_not(proxied):
    outside, through, authority = proxied
    trusted = ssl.create_default_context(cafile=str(authority))
    for port in (outside, through):
        with httpx.Client(verify=trusted, base_url=f"https://localhost:{port}") as client:
            answer = client.get("/health", headers={"X-Forwarded-For": "192.0.2.7"})
            assert re.fullmatch(r"127\.0\.0\.1", answer.text)  # what a caller claims is replaced
            assert client.get("/health", headers={"X-Long": "a" * 40_000}).status_code == 400
