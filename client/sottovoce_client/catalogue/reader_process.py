"""A process that reads audio files for a scan: a path a line comes in, a file's facts a line go out, both as JSON.

It ends with its input, so it never outlives the scan, whatever happens to that.
"""

import json
import os
import sys
from pathlib import Path

from sottovoce_client.catalogue.file_facts import examine


def main() -> None:
    """Answer every line of stdin with one of stdout."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a decoder says on stdout must not be taken for an answer
    for line in sys.stdin:
        answers.write(json.dumps(examine(Path(json.loads(line))).plain()) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
