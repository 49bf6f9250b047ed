"""A service's database: SQLite in its data folder, or PostgreSQL by URL; migrated when opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from sottovoce.errors import ConfigurationError, OtherVersion

MIGRATION_LOCK = 0x50770  # PostgreSQL advisory lock against concurrent migrations
HOLD_LOCK = 0x50771  # PostgreSQL advisory lock of the one process that may use a database
BUSY_SECONDS = 15


@dataclass(frozen=True)
class Service:
    """What distinguishes the services' databases.

    Args:
        name: name for messages, and of the file in the data folder.
        migrations: package of its migrations, in Alembic's form.
    """

    name: str
    migrations: str

    @property
    def file(self) -> str:
        """Name of the SQLite database in the data folder."""
        return f"{self.name}.sqlite"


REGISTRY = Service("registry", "sottovoce_server.registry:migrations")
STUDIO = Service("studio", "sottovoce_server.studio:migrations")


@dataclass(frozen=True)
class DataLocation:
    """Locations of a service's data: `data` for files, `url` for the database (default: SQLite in `data`)."""

    data: Path
    url: str | None = None
    service: Service = REGISTRY


class Database:
    """Sessions on a migrated database.

    Args:
        place: location of the database.

    Raises:
        ConfigurationError: the URL is not supported, or the database cannot be reached or migrated.
    """

    def __init__(self, place: DataLocation) -> None:
        _make_private(place)
        self._holding: Connection | None = None
        url = _url(place)
        try:
            self.engine = _engine(url)
            self._sessions = sessionmaker(self.engine, expire_on_commit=False)
            with FileLock(place.data / "migration.lock"):
                migrate(self.engine, place.service)
        except ModuleNotFoundError:
            raise ConfigurationError(
                "PostgreSQL needs a driver that is not installed.", hint="pip install 'sottovoce[postgres]'"
            ) from None
        except CommandError:
            raise OtherVersion(
                f"The {place.service.name}'s database was migrated by a newer version of Sottovoce.",
                hint="Run that version, or restore a copy of the database from before.",
            ) from None
        except SQLAlchemyError as error:
            raise ConfigurationError(
                f"The database {url.render_as_string()} cannot be used ({type(error).__name__}).",
                hint="Check that it is running, and the name, password and permissions.",
            ) from None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed if the block succeeds, otherwise rolled back."""
        with self._sessions.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that reads before it writes: in SQLite, nobody else writes meanwhile.

        In PostgreSQL, rows are selected `FOR UPDATE`.
        """
        with self.session() as session:
            if self.engine.dialect.name == "sqlite":  # the driver begins a transaction only at the first change
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session

    def hold(self) -> bool:
        """Hold a PostgreSQL database until it is closed; False if somebody else does. A file is held by other means."""
        if self.engine.dialect.name != "postgresql":
            return True
        self._holding = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._holding.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": HOLD_LOCK}).scalar())

    def close(self) -> None:
        """Close all connections."""
        if self._holding is not None:
            self._holding.close()
        self.engine.dispose()


def migrate(engine: Engine, service: Service) -> None:
    """Apply missing migrations in one transaction."""
    config = Config()
    config.set_main_option("script_location", service.migrations)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _make_private(place: DataLocation) -> None:
    try:
        place.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise ConfigurationError(
            f"The {place.service.name}'s data folder is a file.", hint="Choose another --data."
        ) from None


def _url(place: DataLocation) -> URL:
    if place.url is None:
        return URL.create("sqlite", database=str(place.data / place.service.file))
    try:
        url = make_url(place.url)
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            return url
        if url.get_backend_name() == "postgresql":
            return url.set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        pass  # the URL may contain a password, so it is not repeated
    raise ConfigurationError(
        "The database's URL is not supported.",
        hint="postgresql://USER:PASSWORD@HOST/DATABASE, or omit it for SQLite in the data folder.",
    )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": BUSY_SECONDS})
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
