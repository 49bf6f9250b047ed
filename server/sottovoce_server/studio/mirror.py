"""The newest releases of a registry, pulled under a pinned key and kept up to date while the studio runs."""

import shutil
import threading
from pathlib import Path

from sottovoce.commands.output import notes, say
from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.release.logged import default_memory, remember_agreement
from sottovoce.release.pull import listed, pull
from sottovoce.release.registry_client import RegistryClient, read_token
from sottovoce.release.seen_versions import Seen
from sottovoce.release.trusted_key import trusted_agreement, trusted_key, trusted_log
from sottovoce.release.versions import Reference

MINUTES = 5.0
"""Time between two looks at the registry, minutes."""


class Mirror:
    """A folder with the newest release of each model of a registry. A model that is withdrawn leaves it.

    Args:
        url: the registry.
        key: the coordinator's key, as on the command line.
        token_file: file with the token for the registry, or None.
        folder: folder of the releases.
    """

    def __init__(self, url: str, key: str, token_file: Path | None, folder: Path) -> None:
        self.folder = folder
        self._url = url
        self._key = key
        self._token = None if token_file is None else read_token(token_file)
        self._thread = threading.Thread(target=self._follow, name="studio-mirror", daemon=True)

    def start(self) -> None:
        """Pull everything once, then continue in a thread. What was pulled before is used if the registry is away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._refresh()
        self._thread.start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(60 * MINUTES):
            self._refresh()

    def _refresh(self) -> None:
        try:
            self.refresh()
        except SottovoceError as error:
            say(notes(), "Registry", error.message, "bold yellow")

    def refresh(self) -> None:
        """Pull what is new, and remove what was withdrawn.

        Raises:
            RegistryError: the registry cannot be reached, or refuses.
            ReleaseError: a release fails a check; the others are pulled all the same.
        """
        pinned = trusted_key(self._key)
        if pinned is None:
            raise ConfigurationError("No key is given.")
        memory = default_memory()
        remember_agreement(trusted_log(self._key), memory)
        problem: SottovoceError | None = None
        with RegistryClient(self._url, self._token) as client:
            wanted = {each.name for each in listed(client) if each.newest is not None}
            for name in sorted(wanted):
                try:
                    pull(
                        client,
                        Reference(name, None),
                        pinned,
                        self.folder / name,
                        seen=Seen.default(),
                        memory=memory,
                        agreement=trusted_agreement(self._key),
                    )
                except SottovoceError as error:
                    problem = error
        for folder in self.folder.iterdir():
            if folder.name not in wanted and folder.is_dir() and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
        if problem is not None:
            raise problem
