"""The Flower App Bundle of every run: configuration only. Each side runs its installed code."""

import hashlib
import io
import zipfile

import tomli_w

from sottovoce.version import __version__

SERVER_APP = "sottovoce_server.flower.deployed_coordinator:app"
CLIENT_APP = "sottovoce_client.flower.deployed_label:app"
PUBLISHER = "sottovoce"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def build_bundle() -> tuple[bytes, str]:
    """The bundle, identical for one version of Sottovoce, and its SHA-256 (hexadecimal).

    It contains `pyproject.toml` and Flower's list of hashes, as `flwr build` would write them.
    """
    configuration = tomli_w.dumps(
        {
            "project": {"name": "sottovoce", "version": __version__, "license": "Apache-2.0", "dependencies": []},
            "tool": {
                "flwr": {
                    "app": {
                        "publisher": PUBLISHER,
                        "components": {"serverapp": SERVER_APP, "clientapp": CLIENT_APP},
                        "config": {"run": ""},
                    }
                }
            },
        }
    ).encode()
    hashes = f"pyproject.toml,{hashlib.sha256(configuration).hexdigest()},{8 * len(configuration)}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("pyproject.toml", configuration), (".info/CONTENT", hashes.encode())):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE << 16
            archive.writestr(entry, content)
    bundle = buffer.getvalue()
    return bundle, hashlib.sha256(bundle).hexdigest()
