"""A process that reads audio files for a scan: it takes one path per line and prints that file's facts, as JSON.

It exits at the end of its input, so it never outlives the scan.
"""

import json
import os
import sys
from pathlib import Path

from sottovoce_client.catalogue.file_facts import examine


def main() -> None:
    """Answer every line on stdin with one on stdout."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a decoder's output on stdout must not be mistaken for an answer
    for line in sys.stdin:
        answers.write(json.dumps(examine(Path(json.loads(line))).plain()) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
