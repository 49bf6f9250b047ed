"""`policy.toml` as a new label finds it: every rule with its safe default, and a comment in front of each."""

import json
from dataclasses import fields

from sottovoce_client.home.policy import Policy

_HEAD = (
    "What this label takes part in. No coordinator can change it; it is read anew with every message.\n"
    "Every rule stands here with its default. Lists are closed: what they do not name is refused."
)
_COMMENTS = {
    "tasks": "What models may be trained for: style, generator, editor.",
    "families": "Kinds of model: svm, cnn, rnn.",
    "purposes": "What the catalogue's tracks may serve, where their own consent (catalogue.csv) allows it too.",
    "epsilon_per_run": "Largest epsilon of one run. A run that asks for more is trained with this.",
    "epsilon_lifetime": "Largest epsilon of all runs together, at delta_max. What is spent never comes back.",
    "delta_max": "Largest delta of a run, and the delta of the lifetime's epsilon. Keep it below 1 / number of tracks.",
    "least_noise_multiplier": "Least noise, over what one unit can change a sum by; 0 leaves it to epsilon.",
    "least_unit": 'The least that a unit of privacy must cover: "track", "artist" or "label".',
    "allow_non_private": "Whether a run may do without privacy. The lifetime's epsilon is infinite from then on.",
    "least_participants": "Labels that a sum needs, below which this one does not help to open it; at least 3.",
    "most_assumed_honest": "Honest labels in a sum that a guarantee by distributed noise may assume, at most.",
    "least_confirmed": "Other labels that must be confirmed as real; 0: enough that under a third could be invented.",
    "most_rounds": "Rounds of one run.",
    "largest_model": "Parameters of a model.",
    "declared_tracks": "About how many tracks the label trains on, in two digits (480). Change it by hand, seldom.",
    "declared_artists": "About how many artists, likewise. 0 declines the private runs that would need it.",
    "trust": 'What a guarantee may rest on: "local" (own noise), "distributed" (noise of all labels, behind masks).',
    "hours": 'When training may run, in local time, such as "22:00-06:00, 12:00-13:30". Empty: any time.',
    "folders": "Folders that catalogues must lie in. Empty: wherever `sottovoce label catalogue` registered them.",
    "default_consent": 'What a track may serve of which its catalogue does not say: as in catalogue.csv, or "none".',
    "cosign": "Whether to co-sign releases that agree with this label's own books.",
    "audit_samples": "Samples of each style that the copy audit has a generator make before you co-sign it.",
    "audit_false_alarms": "How often that audit may fail although nothing was copied: 0.01 is one audit in a hundred.",
}


def policy_text(policy: Policy | None = None) -> str:
    """A policy as the TOML that `Policy.from_toml` reads back to an equal value."""
    values = policy or Policy()
    parts = ["".join(f"# {line}\n" for line in _HEAD.splitlines())]
    parts += [
        f"# {_COMMENTS[rule.name]}\n{rule.name} = {_toml(getattr(values, rule.name))}\n" for rule in fields(Policy)
    ]
    return "\n".join(parts)


def _toml(value: object) -> str:
    """A value in one line of TOML, which for strings and lists of them is JSON's."""
    if isinstance(value, frozenset):
        return json.dumps(sorted(str(item) for item in value))
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else json.dumps(str(value), ensure_ascii=False)
