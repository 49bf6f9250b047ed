"""`sottovoce label doctor`."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from sottovoce.commands.doctor import diagnose
from sottovoce.errors import ConfigurationError
from sottovoce_client.home.examination import examine
from sottovoce_client.home.label_home import default_root


def examine_home(home: Path | None, *, repair: bool, as_json: bool) -> None:
    """Examine a home, and repair it if asked to.

    Raises:
        ConfigurationError: there is no such folder, or it is to be repaired while the label takes part in a federation.
        typer.Exit: something is wrong.
    """
    root = home or default_root()
    if not root.is_dir() or not any(root.iterdir()):
        raise ConfigurationError(
            "There is no label's home in this folder.", hint="If it was lost: sottovoce label restore BACKUP"
        )
    try:
        with FileLock(root / ".join.lock", mode=0o600, timeout=0) if repair else nullcontext():
            diagnose(partial(examine, root), repair=repair, as_json=as_json)
    except Timeout:
        raise ConfigurationError(
            "This label takes part in a federation now, in another process.", hint="Stop `sottovoce label join` first."
        ) from None
