"""What the pages use of the studio."""

from collections.abc import Callable
from dataclasses import dataclass

from sottovoce_server.registry.access import Access
from sottovoce_server.registry.tokens import Caller
from sottovoce_server.studio.engine import Engine
from sottovoce_server.studio.intake import Intake
from sottovoce_server.studio.jobs import Jobs
from sottovoce_server.studio.schema import Job, State
from sottovoce_server.studio.settings import Settings
from sottovoce_server.studio.shelf import Shelf, Shelved
from sottovoce_server.studio.views import JobView, job_view


@dataclass(frozen=True)
class Studio:
    """The studio.

    Args:
        jobs: the queue.
        shelf: the releases.
        engine: its workers.
        intake: accepts jobs.
        settings: the configuration.
        access: identifies callers.
        caller: dependency that returns the caller of a request.
    """

    jobs: Jobs
    shelf: Shelf
    engine: Engine
    intake: Intake
    settings: Settings
    access: Access
    caller: Callable[..., Caller]

    def releases(self, *tasks: str) -> list[Shelved]:
        """The releases for some tasks, newest first; without tasks, all."""
        return [each for each in self.shelf.releases().values() if not tasks or each.manifest.task in tasks]

    def view(self, job: Job) -> JobView:
        """A job as others see it."""
        return job_view(job, self.jobs)

    def made(self, piece: str | None, owner: str) -> tuple[JobView, int] | None:
        """The job that made a piece, and the piece's number; None if it is no longer there.

        Args:
            piece: ID/NUMBER.
            owner: the caller's token.
        """
        job, _, number = (piece or "").partition("/")
        found = self.jobs.find(job, owner)
        if found is None or found.state != State.DONE or not number.isdecimal():
            return None
        view = self.view(found)
        return (view, int(number)) if any(each.number == int(number) for each in view.audio) else None
