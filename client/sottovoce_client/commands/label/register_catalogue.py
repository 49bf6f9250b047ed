"""`sottovoce label catalogue`: register folders, scan them, and compute features in advance."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue import Catalogue, NothingUsable, Purpose, Split, Track
from sottovoce_client.catalogue.tables import as_json as plain
from sottovoce_client.catalogue.tables import show
from sottovoce_client.commands.label.common import SIDES_WRITTEN, bar, opened
from sottovoce_client.home.policy import Policy

if TYPE_CHECKING:
    from sottovoce.features.spec import FeatureSpec
    from sottovoce_client.data.feature_cache import FeatureCache, Filled


def register_and_scan(
    directories: Sequence[Path],
    home: Path | None,
    *,
    workers: int | None,
    declared: bool,
    features: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """Register folders, scan them, compute features, and print the result.

    Raises:
        CatalogueError: a path is not a folder, or none of them has a usable file.
        ConfigurationError: the home or the policy cannot be used, or one folder contains another.
    """
    label = opened(home)
    policy = Policy.from_toml(label.policy_file)
    for directory in directories:
        if not directory.is_dir():
            raise CatalogueError(f"{shown(directory)} is not a folder.")
    label = label.with_catalogues(directories)
    for folder in label.catalogues:
        if not policy.holds(folder):
            say(notes(), "Left out", f"{shown(folder)} is not in the policy's folders.", "bold yellow")
    purposes = sorted(Purpose(name) for name in policy.purposes & set(Purpose))
    started = perf_counter()
    from sottovoce.privacy.padding import GROWTH
    from sottovoce_client.data.declaration import declare, suggestion
    from sottovoce_client.data.preparation import catalogues_of, tracks_for, with_sides
    from sottovoce_client.data.split import split_of

    try:
        with bar("reading") as progress:
            label, former = with_sides(label, workers=workers, progress=progress)
            found: tuple[Catalogue, ...] = catalogues_of(label, purposes, workers=workers, progress=progress)
    except NothingUsable as error:
        if not as_json:
            show(error.catalogue, results(), seconds=perf_counter() - started, show_all=show_all)
        raise
    seconds = perf_counter() - started
    with bar("splitting") as progress:
        splits = {
            purpose: split_of(label, tracks_for(found, purpose), workers=workers, progress=progress)
            for purpose in purposes
        }
    suggested = suggestion(splits.values())
    stated = declare(label, suggested) if declared else suggested
    computed = None
    if features:
        from sottovoce_client.data.feature_cache import FeatureCache

        computed = _computed(FeatureCache(label.cache), found, purposes, workers)
    if as_json:
        print_json(
            {
                "catalogues": [plain(catalogue, seconds=seconds) for catalogue in found],
                "suggested": {"declared_tracks": suggested.tracks, "declared_artists": suggested.artists},
                "usable": {purpose.value: len(tracks_for(found, purpose)) for purpose in purposes},
                "held_out": {purpose.value: len(split.held_out) for purpose, split in splits.items()},
                "features": None
                if computed is None
                else {"known": computed.known, "computed": computed.computed, "unusable": len(computed.unusable)},
            }
        )
        return
    for catalogue in found:
        results().print(shown(catalogue.root), style="bold", soft_wrap=True)
        show(catalogue, results(), seconds=seconds, show_all=show_all)
    if former:
        say(notes(), "Note", SIDES_WRITTEN, "bold")
    for purpose, split in splits.items():
        results().print(_in_words(purpose, split))
    if computed is not None:
        line = f"Features: {counted(computed.computed, 'track')} computed, {computed.known:,} known before"
        if computed.unusable:
            line += f", {len(computed.unusable):,} that cannot be used"
        results().print(f"{line}.")
    about = f"declared_tracks = {stated.tracks}, declared_artists = {stated.artists}"
    if declared:
        results().print(f"Declared in policy.toml: {about}.")
    elif not policy.declared_tracks:
        say(notes(), "Next", f"declare {about} in policy.toml, or repeat with --declare.", "bold cyan")
    standing, trained = Policy.from_toml(label.policy_file).declared_tracks, max(map(_trained, splits.values()))
    if standing and trained > GROWTH * standing:
        text = f"{trained:,} training tracks, but only {standing:,} declared: round times may reveal samples."
        say(notes(), "Warning", f"{text} Declare {suggested.tracks:,} in policy.toml.", "bold yellow")


def _trained(split: Split) -> int:
    return len(split.train)


def _in_words(purpose: Purpose, split: Split) -> str:
    """The number of held-out tracks, and what follows if one side is empty."""
    held_out, train = len(split.held_out), len(split.train)
    if not train and not held_out:
        return f"No track may serve '{purpose}'."
    said = f"Held out from '{purpose}' models, for ever: {held_out:,} of {counted(train + held_out, 'track')}"
    if not train:
        return f"{said}, so that none is left to train on: artists or albums are held out as a whole."
    if not held_out:
        return f"{said}, so that nothing can be measured here: artists or albums are trained on as a whole."
    return f"{said}. The other {train:,} are trained on."


def _computed(
    cache: "FeatureCache", found: Sequence[Catalogue], purposes: Sequence[Purpose], workers: int | None
) -> "Filled":
    """Features of every track, for each task that may use it."""
    from sottovoce.models import discovery
    from sottovoce_client.data.feature_cache import Filled
    from sottovoce_client.data.preparation import tracks_for

    needed: dict[FeatureSpec, dict[str, Track]] = {}
    for purpose in purposes:
        if purpose in discovery.tasks():
            tracks = {track.digest: track for track in tracks_for(found, purpose)}
            for spec in discovery.specs(purpose):
                needed.setdefault(spec, {}).update(tracks)
    filled = []
    for spec, tracks in needed.items():
        with bar("computing features") as progress:
            filled.append(cache.fill(tracks.values(), spec, workers=workers, progress=progress))
    unusable = {digest: reason for each in filled for digest, reason in each.unusable.items()}
    return Filled(sum(each.known for each in filled), sum(each.computed for each in filled), unusable)
