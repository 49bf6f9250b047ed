"""The registry's tables. Times are seconds since 1970 (UTC); file contents are in the folder, named by digest."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite auto-numbers rows only for INTEGER


class Base(DeclarativeBase):
    """All tables."""


class Model(Base):
    """A name under which releases are published, always by one coordinator's key."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    visibility: Mapped[str] = mapped_column(String(16))
    coordinator_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    releases: Mapped[list["Release"]] = relationship(order_by="Release.version.desc()", lazy="selectin")


class Release(Base):
    """One version of a model. It never changes, except that signatures are added and it may be withdrawn."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("model", "version"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    version: Mapped[str] = mapped_column(String(16))
    agreement: Mapped[str] = mapped_column(String(64))
    published: Mapped[int] = mapped_column(BigInteger)
    withdrawn: Mapped[int | None] = mapped_column(BigInteger)
    files: Mapped[list["File"]] = relationship(order_by="File.name", lazy="selectin")


class File(Base):
    """One file of a release: its size, and its SHA-256 (hex), which is its name in the folder."""

    __tablename__ = "files"

    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), index=True)


class Token(Base):
    """An access token; only a digest of its secret is stored."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(64))
    models: Mapped[str | None] = mapped_column(String(8192))  # names with commas between; None: all
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    revoked: Mapped[int | None] = mapped_column(BigInteger)


class Upload(Base):
    """A release being uploaded; its files are kept aside until it is published."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token: Mapped[str] = mapped_column(ForeignKey("tokens.id"), index=True)
    model: Mapped[str] = mapped_column(String(63))
    version: Mapped[str] = mapped_column(String(16))
    started: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    """An entry of the audit log."""

    __tablename__ = "events"
    __table_args__ = (Index("events_by_time", "time"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=True)
    time: Mapped[int] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(16))
    token: Mapped[str | None] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(160))
    address: Mapped[str | None] = mapped_column(String(64))
