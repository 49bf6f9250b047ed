"""`sottovoce catalogue scan`: scan with a progress bar and print the result."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from sottovoce.commands.output import notes, print_json, results, shown
from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_client.catalogue.consent import DEFAULT_CONSENT, Consent, Purpose
from sottovoce_client.catalogue.scanning import Progress, scan
from sottovoce_client.catalogue.tables import as_json as plain
from sottovoce_client.catalogue.tables import show
from sottovoce_client.catalogue.tracks import NothingUsable


def scan_and_show(
    directory: Path,
    *,
    as_json: bool,
    purposes: Sequence[str] | None,
    default_consent: str | None,
    workers: int | None,
    index: Path | None,
    show_all: bool,
) -> None:
    """Scan and print, as JSON or as tables; the tables of an unusable catalogue precede its error.

    Raises:
        ConfigurationError: a purpose or the default consent is invalid.
        CatalogueError: as raised by `scan`, with the folder's name.
    """
    wanted = frozenset(_purpose(name) for name in purposes) if purposes else None
    default = DEFAULT_CONSENT if default_consent is None else Consent.parse(default_consent)
    started = perf_counter()
    failure: CatalogueError | None = None
    try:
        with _progress() as progress:
            found = scan(
                directory,
                index=index,
                purposes=wanted,
                default_consent=default,
                workers=workers,
                progress=progress,
            )
    except NothingUsable as error:
        found, failure = error.catalogue, error
    except CatalogueError as error:
        raise CatalogueError(f"{shown(directory)}: {error.message}", hint=error.hint) from None
    seconds = perf_counter() - started
    if as_json:
        print_json(plain(found, seconds=seconds))
    else:
        show(found, results(), seconds=seconds, show_all=show_all)
    if failure is not None:
        raise CatalogueError(f"{shown(directory)}: {failure.message}", hint=failure.hint)


def _purpose(name: str) -> Purpose:
    try:
        return Purpose(name.casefold())
    except ValueError:
        raise ConfigurationError(f"'{name}' is not a purpose.", hint=f"Choose from {', '.join(Purpose)}.") from None


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A progress bar on a terminal; silent in logs and pipes."""
    console = notes()
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking", total=None)

        def tell(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, description="looking" if total is None else "reading")

        yield tell
