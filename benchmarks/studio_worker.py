"""A studio's worker whose jobs are trivial, or go wrong on purpose: for the queue's benchmark and tests.

A job's parameters say what it does; without any it only notes its id, in a file of this process.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from sottovoce_server.studio import worker
from sottovoce_server.studio.jobs import Made
from sottovoce_server.studio.schema import Job


class Trivial:
    """Notes in the folder `begun` that a job was begun, then does as its parameters say."""

    def __init__(self, order: worker.Order) -> None:
        folder = Path(order.data) / "begun"
        folder.mkdir(exist_ok=True)
        self._file = (folder / order.name).open("a")

    def carry_out(self, job: Job, folder: Path, progress: Any) -> tuple[dict[str, Any], list[Made]]:
        """Do a job."""
        print(job.id, job.claim, file=self._file, flush=True)
        does = job.parameters.get("does")
        if does == "hang":
            time.sleep(3600)
        elif does == "die":
            os.abort()
        elif does == "grow":
            progress(1, len(bytearray(1 << 40)))
        elif does == "raise":
            raise KeyError("nothing that a user should see")
        elif does == "write":
            (folder / f"{job.claim}-0.flac").write_bytes(bytes(job.parameters["bytes"]))
        progress(1, 1)
        return {"claim": job.claim}, [Made(1.0)]


if __name__ == "__main__":
    worker.main(msgspec.json.decode(sys.argv[1], type=worker.Order), Trivial)
