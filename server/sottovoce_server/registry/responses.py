"""Response bodies, as described on the OpenAPI page."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path as PathField
from pydantic import BaseModel, Field

from sottovoce_server.registry import schema
from sottovoce_server.registry.listing import Visibility

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
VERSION = r"^[0-9]{8}T[0-9]{6}Z$"

ModelName = Annotated[str, PathField(pattern=NAME, description="A model's name.", examples=["isles-style-svm"])]
ModelVersion = Annotated[
    str, PathField(pattern=VERSION, description="Time of creation, UTC.", examples=["20250131T120000Z"])
]
FileName = Annotated[
    Literal["manifest.json", "manifest.sig", "model.safetensors", "normalisation.safetensors", "log.json"],
    PathField(description="One of a release's four files, or what shows that it is in the coordinator's log."),
]
UploadId = Annotated[str, PathField(pattern=r"^[0-9a-f]{32}$", description="From `POST /v1/uploads`.")]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str
    hint: str | None = None


class FileView(BaseModel):
    """A file of a release. Its ETag is its SHA-256."""

    name: str
    size: int = Field(description="bytes")
    sha256: str


class ReleaseView(BaseModel):
    """One version of a model."""

    version: str
    published: datetime
    withdrawn: bool
    files: list[FileView]


class ModelView(BaseModel):
    """A model with its versions, newest first."""

    name: str
    visibility: Visibility
    newest: str | None = Field(description="Newest version that has not been withdrawn.")
    releases: list[ReleaseView]


class ModelList(BaseModel):
    """Models by name."""

    models: list[ModelView]
    next: str | None = Field(description="Value of `after` for the next page; null on the last page.")


class Announced(BaseModel):
    """A release about to be uploaded."""

    name: str = Field(pattern=NAME)
    version: str = Field(pattern=VERSION)


class Begun(BaseModel):
    """An upload in progress."""

    upload: str
    seconds: int = Field(description="Seconds until it is deleted.")


class Received(BaseModel):
    """A completely received file."""

    sha256: str


class Cosigned(BaseModel):
    """Number of new signatures."""

    added: int


class Shown(BaseModel):
    """Who may see a model."""

    visibility: Visibility


def model_view(model: schema.Model) -> ModelView:
    """The response for a model."""
    return ModelView(
        name=model.name,
        visibility=Visibility(model.visibility),
        newest=next((each.version for each in model.releases if each.withdrawn is None), None),
        releases=[release_view(each) for each in model.releases],
    )


def release_view(release: schema.Release) -> ReleaseView:
    """The response for a release."""
    return ReleaseView(
        version=release.version,
        published=datetime.fromtimestamp(release.published, UTC),
        withdrawn=release.withdrawn is not None,
        files=[FileView(name=each.name, size=each.size, sha256=each.sha256) for each in release.files],
    )
