"""Fuzzes one target, or all in turn, in this process, guided by coverage (atheris, libFuzzer).

    python -m tests.fuzz.fuzzer TARGET [libFuzzer's options and folders]

With `all`, the first byte of an input chooses the target. Ends with an exit code other than 0 after a fault, whose
input is in the file that libFuzzer names.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["sottovoce", "sottovoce_client", "sottovoce_server", "mutagen"]):
    from tests.fuzz.targets import targets

ALL = "all"


def main() -> None:
    """Fuzz until libFuzzer ends."""
    with TemporaryDirectory(prefix="sottovoce-fuzz-") as folder:
        known = targets(Path(folder))
        name = sys.argv.pop(1)
        numbered = list(known.values())

        def try_all(data: bytes) -> None:
            if data:
                numbered[data[0] % len(numbered)].try_on(data[1:])

        def try_one(data: bytes) -> None:
            known[name].try_on(data)

        atheris.Setup(sys.argv, try_all if name == ALL else try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
