"""Look up the locked dependencies among published advisories: `make advisories`.

Exits with 0 if every one was looked up and has none, 1 if some have, and 2 if a database could not be reached for all.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parent / "locks"


def main() -> int:
    """Look up every lock file, and print a line for each; the exit code."""
    audit = Path(sys.executable).with_name("pip-audit")
    worst = 0
    for lock in sorted(LOCKS.glob("*.txt")):
        command = [audit, "--requirement", lock, "--require-hashes", "--disable-pip", "--format", "json"]
        done = subprocess.run(  # noqa: S603 - our own tool and files
            command, capture_output=True, text=True, check=False
        )
        try:
            found = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            sys.stdout.write(f"{lock.name}: NOT CHECKED, pip-audit failed:\n{done.stderr.strip()}\n")
            worst = 2
            continue
        text, outcome = verdict(found)
        sys.stdout.write(f"{lock.name}: {text}\n")
        worst = max(worst, outcome)
    return worst


def verdict(dependencies: list[dict[str, Any]]) -> tuple[str, int]:
    """What pip-audit found about a lock file's dependencies, in words, and the exit code."""
    affected = [each for each in dependencies if each.get("vulns")]
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    lines = [
        f"  {each['name']} {each['version']}: {advisory['id']}; fixed in {', '.join(advisory['fix_versions']) or '-'}"
        for each in affected
        for advisory in each["vulns"]
    ]
    checked = len(dependencies) - len(skipped)
    lines.insert(0, f"{checked} of {len(dependencies)} looked up, {len(affected)} with advisories")
    if skipped:
        lines.append(f"  NOT CHECKED (no database could be reached): {', '.join(sorted(skipped))}")
    return "\n".join(lines), 2 if skipped else 1 if affected else 0


if __name__ == "__main__":
    sys.exit(main())
