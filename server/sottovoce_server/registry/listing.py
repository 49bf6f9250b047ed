"""Queries of models and releases, with access control."""

import time
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, false, or_, select, true
from sqlalchemy.orm import Session

from sottovoce.errors import ConfigurationError
from sottovoce_server.registry.schema import File, Model, Release
from sottovoce_server.registry.tokens import Caller, Scope


class Visibility(StrEnum):
    """Who may see a model, besides those who may publish it."""

    PUBLIC = "public"  # anybody
    TOKEN = "token"  # any token that is not limited to other models  # noqa: S105
    PRIVATE = "private"  # tokens that name this model


def models(session: Session, caller: Caller, after: str, limit: int) -> list[Model]:
    """The models that a caller may see, by name."""
    found = select(Model).where(_seen_by(caller), Model.name > after).order_by(Model.name).limit(limit)
    return list(session.scalars(found))


def model(session: Session, caller: Caller, name: str) -> Model | None:
    """A model, or None if it does not exist or the caller may not see it: the two cases must look alike."""
    return session.scalar(select(Model).where(_seen_by(caller), Model.name == name))


def release(session: Session, caller: Caller, name: str, version: str) -> Release | None:
    """A release, possibly withdrawn, or None if it does not exist or the caller may not see it."""
    return session.scalar(
        select(Release)
        .join(Model, Model.name == Release.model)
        .where(_seen_by(caller), Release.model == name, Release.version == version)
    )


def file(release: Release, name: str) -> File | None:
    """One of a release's files."""
    return next((each for each in release.files if each.name == name), None)


def set_visibility(session: Session, name: str, visibility: Visibility) -> None:
    """Change who may see a model.

    Raises:
        ConfigurationError: the model does not exist.
    """
    found = session.get(Model, name) if name.isprintable() else None
    if found is None:
        raise ConfigurationError("There is no such model.", hint="`sottovoce registry models` lists all models.")
    found.visibility = visibility


def withdraw(session: Session, name: str, version: str) -> None:
    """Stop serving a release. Its version stays taken.

    Raises:
        ConfigurationError: the release does not exist.
    """
    found = session.scalar(select(Release).where(Release.model == name, Release.version == version))
    if found is None:
        raise ConfigurationError("There is no such release.", hint="`sottovoce registry models` lists all releases.")
    found.withdrawn = found.withdrawn or int(time.time())


def everything(session: Session) -> list[Model]:
    """All models, for the operator."""
    return list(session.scalars(select(Model).order_by(Model.name)))


def _seen_by(caller: Caller) -> ColumnElement[bool]:
    named = false() if caller.models is None else Model.name.in_(caller.models)
    covered = true() if caller.models is None else named
    holds = true() if caller.scopes else false()
    return or_(
        Model.visibility == Visibility.PUBLIC,
        and_(holds, Model.visibility == Visibility.TOKEN, covered),
        and_(holds, Model.visibility == Visibility.PRIVATE, named),
        and_(true() if Scope.PUBLISH in caller.scopes else false(), covered),
    )
