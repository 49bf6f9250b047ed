"""The bundle of every run: what labels accept, and nothing else."""

from sottovoce_client.flower.bundle_check import check_bundle
from sottovoce_server.flower.configuration_bundle import build_bundle


def test_labels_accept_it():
    content, digest = build_bundle()
    assert check_bundle(content).digest == digest
    assert check_bundle(content).app == "sottovoce/sottovoce"


def test_it_is_what_flower_would_build():
    import io
    import zipfile

    from flwr.cli.build import build_fab_from_files

    content, _ = build_bundle()

    def files(data):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    ours = files(content)
    assert files(build_fab_from_files({"pyproject.toml": ours["pyproject.toml"]})[0]) == ours


def test_it_is_the_same_every_time():
    assert build_bundle() == build_bundle()
