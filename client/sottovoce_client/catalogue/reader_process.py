"""A process that reads audio files for a scan: it takes one path per line and prints that file's facts, as JSON.

It exits at the end of its input, so it never outlives the scan.
"""

import json
import os
import resource
import sys
from pathlib import Path

from sottovoce_client.catalogue.file_facts import examine

MEMORY = 1 << 30
"""Memory in bytes that decoding may take, whatever a file claims; block by block it takes a few megabytes."""


def main() -> None:
    """Answer every line on stdin with one on stdout."""
    limit_memory()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a decoder's output on stdout must not be mistaken for an answer
    for line in sys.stdin:
        answers.write(json.dumps(examine(Path(json.loads(line))).plain()) + "\n")
        answers.flush()


def limit_memory() -> None:
    """Let this process take no more than `MEMORY` beyond what its libraries have taken."""
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))


if __name__ == "__main__":
    main()
