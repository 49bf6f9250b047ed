"""Template of `policy.toml`: every rule with its safe default, and a comment above each."""

import json
from dataclasses import fields

from sottovoce_client.home.policy import Policy

_HEAD = (
    "What this label takes part in. No coordinator can change it; it is read again for every message.\n"
    "Every rule is listed with its default. Anything that a list does not name is refused."
)
_COMMENTS = {
    "tasks": "Tasks that models may be trained for: style, generator, editor.",
    "families": "Families of models: svm, cnn, rnn.",
    "purposes": "Purposes of the catalogue's tracks, if their own consent (catalogue.csv) allows them too.",
    "epsilon_per_run": "Largest epsilon of one run. A run with a larger epsilon is trained with this.",
    "epsilon_lifetime": "Largest epsilon of all runs together, at delta_max. What is spent never comes back.",
    "delta_max": "Largest delta of a run, and the delta of the lifetime's epsilon. Keep it below 1 / number of tracks.",
    "least_noise_multiplier": "Smallest noise, relative to what one unit can change in a sum; 0: as epsilon requires.",
    "least_unit": 'Smallest acceptable unit of privacy: "track", "artist" or "label".',
    "allow_non_private": "Whether to allow runs without privacy. After one, the lifetime's epsilon is infinite.",
    "least_participants": "Smallest number of labels in a sum that this label helps to unmask; at least 3.",
    "most_assumed_honest": "With distributed noise, largest acceptable number of labels assumed honest.",
    "least_confirmed": "Number of other labels that must be confirmed; 0: enough that under a third could be invented.",
    "oldest_protocol": "Oldest version of the protocol of a run; 0: see docs/upgrade.md.",
    "most_rounds": "Largest number of rounds of a run.",
    "largest_model": "Largest number of parameters of a model.",
    "declared_tracks": "Approximate number of tracks trained on, in two digits (480). Change it rarely, by hand.",
    "declared_artists": "Approximate number of artists, likewise. 0 declines private runs that need it.",
    "trust": 'Acceptable noise: "local" (own noise), "distributed" (of all labels together, behind masks).',
    "hours": 'When training may run, in local time, such as "22:00-06:00, 12:00-13:30". Empty: any time.',
    "folders": "Folders that catalogues must lie in. Empty: any folder registered by `sottovoce label catalogue`.",
    "default_consent": 'Consent of tracks without one in their catalogue: as in catalogue.csv, or "none".',
    "cosign": "Whether to co-sign releases that agree with this label's own records.",
    "audit_samples": "Samples of each style that the copy audit generates before you co-sign a generator.",
    "audit_false_alarms": "Probability that the audit fails although nothing was copied; 0.01: one in a hundred.",
}


def policy_text(policy: Policy | None = None) -> str:
    """A policy as TOML; `Policy.from_toml` restores an equal value."""
    values = policy or Policy()
    parts = ["".join(f"# {line}\n" for line in _HEAD.splitlines())]
    parts += [
        f"# {_COMMENTS[rule.name]}\n{rule.name} = {_toml(getattr(values, rule.name))}\n" for rule in fields(Policy)
    ]
    return "\n".join(parts)


def _toml(value: object) -> str:
    """A value on one line of TOML, whose strings and lists are written like JSON's."""
    if isinstance(value, frozenset):
        return json.dumps(sorted(str(item) for item in value))
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else json.dumps(str(value), ensure_ascii=False)
