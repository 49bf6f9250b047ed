"""What a new agreement changes, in words: members that joined, left or changed keys, and rules."""

from dataclasses import fields

from sottovoce.federation.agreement import Agreement


def changes(before: Agreement, after: Agreement) -> tuple[str, ...]:
    """Each difference as one phrase; empty if the agreements are equal."""
    old = {member.name: member.public_key for member in before.members}
    new = {member.name: member.public_key for member in after.members}
    found = [f"added: {name}" for name in sorted(new.keys() - old.keys())]
    found += [f"removed: {name}" for name in sorted(old.keys() - new.keys())]
    found += [f"another key: {name}" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
    for field in fields(Agreement):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if field.name != "members" and was != now:
            found.append(f"{field.name}: {_shown(was)} became {_shown(now)}")
    return tuple(found)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
