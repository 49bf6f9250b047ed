"""`sottovoce evaluate`: measure a release on a folder of STYLE/track."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.output import notes, print_json, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, ReleaseOption, opened
from sottovoce.errors import AudioError, CatalogueError

if TYPE_CHECKING:
    from sottovoce.release.load import Release

Found = dict[Path, int | str]
"""For each file, the index of the recognised class, or the reason why it cannot be used."""


def evaluate(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with one folder of tracks per style.", show_default=False)
    ],
    release: ReleaseOption,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a release on tracks of known style.

    DIR holds one folder per style, with tracks at any depth. Shows accuracy, macro-F1, precision, recall and F1 per
    style, and the confusion matrix. Files that cannot be used, and folders whose name is not a style of the release,
    are listed and left out.
    """
    tracks = _tracks(directory)
    model = opened(release, key)
    classes = model.manifest.classes
    unknown = Counter(style for style in tracks.values() if style not in classes)
    known = {path: style for path, style in tracks.items() if style in classes}
    if not known:
        raise CatalogueError(
            "No track belongs to a style that the release knows.",
            hint=f"Name the folders in it after the release's styles: {', '.join(classes)}.",
        )
    found = _recognised(model, sorted(known))
    figures = _figures(known, found, classes)
    figures |= {"unknown_styles": dict(sorted(unknown.items()))}
    figures |= {
        "unusable": [
            {"file": str(path.relative_to(directory)), "reason": reason}
            for path, reason in found.items()
            if isinstance(reason, str)
        ]
    }
    if as_json:
        print_json(figures)
    else:
        from sottovoce.commands.evaluation_tables import print_figures

        print_figures(figures)
    if not figures["tracks"]:
        raise CatalogueError("None of the tracks could be used.", hint="The list above says why, file by file.")


def _tracks(directory: Path) -> dict[Path, str]:
    """Every file below a style's folder of DIR, with that folder's name. Hidden files and links are skipped."""
    try:
        styles = sorted(entry for entry in directory.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError as error:
        raise CatalogueError(f"'{shown(directory)}' cannot be read as a folder: {error.strerror}.") from None
    tracks = {path: style.name for style in styles if style.name[0] != "." for path in _files(style)}
    if not tracks:
        raise CatalogueError(
            f"'{shown(directory)}' holds no tracks in folders named after their styles.",
            hint="Arrange it as STYLE/track, or use `sottovoce classify` for single files.",
        )
    return tracks


def _files(folder: Path) -> Iterator[Path]:
    for below, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (
            path
            for path in (Path(below, name) for name in sorted(files) if name[0] != ".")
            if path.is_file() and not path.is_symlink()
        )


def _recognised(model: "Release", paths: list[Path]) -> Found:
    """Classify files on all cores. Decoding and feature extraction, the slow parts, release Python's lock."""
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from rich.progress import MofNCompleteColumn, Progress

    def recognise(path: Path) -> int | str:
        try:
            return int(model.probabilities(path).argmax())
        except AudioError as error:
            return error.message

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one core per file is faster than all cores per operation
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=notes(), transient=True) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            answers = progress.track(pool.map(recognise, paths), total=len(paths), description="Classifying")
            return dict(zip(paths, answers, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining files
            torch.set_num_threads(threads)


def _figures(known: dict[Path, str], found: Found, classes: tuple[str, ...]) -> dict[str, Any]:
    import numpy as np

    from sottovoce.run.metrics import from_confusion

    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for path, answer in found.items():
        if isinstance(answer, int):
            matrix[classes.index(known[path]), answer] += 1
    return {"tracks": int(matrix.sum()), **from_confusion(matrix, classes)}
