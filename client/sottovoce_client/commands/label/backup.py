"""`sottovoce label backup` and `sottovoce label restore`."""

from dataclasses import asdict
from pathlib import Path

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce_client.backup.archive import write_backup
from sottovoce_client.backup.restore import restore
from sottovoce_client.commands.label.common import opened
from sottovoce_client.home.label_home import default_root


def back_up(file: Path, home: Path | None, *, keys: bool, as_json: bool) -> None:
    """Write a backup and print what is in it.

    Raises:
        SottovoceError: the home or its ledger cannot be read, or the file exists.
    """
    made = write_backup(opened(home), file, keys=keys)
    if as_json:
        print_json({**asdict(made), "ledger": made.ledger.to_json(), "file": str(file)})
        return
    results().print(f"{shown(file)}: {counted(len(made.files), 'file')}, ledger up to row {made.ledger.number}.")
    if not keys:
        say(notes(), "Not in it", "the private keys; --keys includes them", "bold")


def put_back(file: Path, home: Path | None, *, as_json: bool) -> None:
    """Restore a backup and print what was put back.

    Raises:
        SottovoceError: the backup is damaged, another label's, or older than the home.
    """
    root = home or default_root()
    done = restore(file, root)
    if as_json:
        print_json({**asdict(done), "home": str(root)})
        return
    names = ", ".join(done.files) or "nothing: the home has everything"
    results().print(f"Restored from the backup of {done.created}: {names}.", soft_wrap=True, markup=False)
    for run in done.charged:
        say(notes(), "Charged", f"run {run[:8]} in full, since its charges after the backup are unknown", "bold yellow")
    if "ledger.sqlite" in done.files:
        say(notes(), "Warning", "runs that this label joined after the backup are not in its ledger", "bold yellow")
    if older := sorted({"policy.toml", "confirmations.json"} & set(done.files)):
        what = f"what was forbidden or withdrawn after the backup is allowed again: check {' and '.join(older)}"
        say(notes(), "Warning", what, "bold yellow")
    if not done.keys:
        say(notes(), "Next", "Put identity.key and node.key back into the home.", "bold cyan")
