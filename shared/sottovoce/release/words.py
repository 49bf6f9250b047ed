"""A manifest in words, for people who decide whether to use a release."""

from sottovoce.release.manifest import UNSTATED, Manifest, Noise, Privacy, Promise
from sottovoce.run.configuration import NONE, PUBLIC, Trust

TRUST = {
    Trust.LOCAL: "local noise: the guarantee depends on no other party",
    Trust.DISTRIBUTED: "distributed noise: the guarantee depends on the masks and {min_honest} honest labels in every "
    "sum",
}
START = {
    NONE: "random parameters",
    PUBLIC: "parameters learned from public audio",
    UNSTATED: "not stated: the release was made by a version that did not say so",
}


def start_in_words(manifest: Manifest) -> str:
    """The parameters that training began with."""
    other = f"the release {manifest.start}, whose own privacy statement covers its training data"
    return START.get(manifest.start, other)


def privacy_in_words(privacy: Privacy) -> list[str]:
    """The privacy statement, one line per item."""
    if privacy.noise is Noise.NONE:
        return ["None: trained without differential privacy. It may reveal its training data."]
    lines = [
        f"{each.labels:,} label{'' if each.labels == 1 else 's'}: {_bound(each)}, for each {privacy.unit}"
        for each in privacy.promises
    ]
    lines.append(f"neighbours: {privacy.neighbours}; accountant: {privacy.accountant}")
    lines.append(TRUST[privacy.trust].format(min_honest=privacy.min_honest))
    if privacy.noise is Noise.SEEDED:
        lines.append("Noise from a seed: a simulation. Anyone who knows the seed can subtract it.")
    return lines


def _bound(promise: Promise) -> str:
    return "no guarantee" if promise.epsilon is None else f"ε ≤ {promise.epsilon:g} at δ = {promise.delta:g}"
