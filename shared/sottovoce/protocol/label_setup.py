"""A label's steps of a set-up: it reveals its nonce, makes ciphertexts, and obtains a key for each of its peers."""

from collections.abc import Mapping

from sottovoce.protocol.keys import encapsulate, pair_secret
from sottovoce.protocol.messages import Encapsulated, Nonces, Pairing
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.progress import Keyed, Revealed
from sottovoce.protocol.session import Session, check_nonces
from sottovoce.protocol.violations import WrongCiphertexts


def encapsulated(
    nonces: Nonces, stage: Revealed, *, label: str, identities: Mapping[str, bytes], n_min: int
) -> tuple[Keyed, tuple[Encapsulated, ...]]:
    """The label's next stage once all nonces are revealed, and the ciphertexts for its peers.

    Args:
        nonces: nonces of all members.
        stage: the label's present stage.
        label: the label's name.
        identities: pinned identity keys.
        n_min: the agreement's.

    Raises:
        WrongRun, WrongSession, WrongNonce, BadSignature, BadKey: as their names say.
    """
    check_nonces(nonces, stage.roster, identities)
    session = Session.of(stage.roster, nonces.reveals, n_min)
    adverts = {advert.label: advert for advert in stage.roster.adverts}
    secrets, agreed, made = {}, {}, []
    for peer in session.topology.peers(label):
        common = stage.key.agree(adverts[peer].public_key)
        if session.topology.encapsulates(label, peer):
            secret, ciphertext = encapsulate(adverts[peer].encapsulation_key)
            secrets[peer] = pair_secret(common, secret, ciphertext, labels={label, peer}, session=session.digest)
            made.append(Encapsulated(peer, ciphertext))
        else:
            agreed[peer] = common
    return Keyed(stage.key, session, secrets, agreed), tuple(made)


def paired(pairing: Pairing, stage: Keyed, *, label: str) -> PairKeys:
    """A label's keys with all its peers, once their ciphertexts have arrived.

    Raises:
        WrongRun, WrongSession: as their names say.
        WrongCiphertexts: not exactly one ciphertext from each peer that has to make one.
    """
    session = stage.session
    session.check(pairing.run, pairing.session)
    if tuple(item.label for item in pairing.ciphertexts) != tuple(stage.agreed):
        raise WrongCiphertexts("There must be exactly one ciphertext from each peer that has to make one.")
    links = dict(stage.secrets)
    for item in pairing.ciphertexts:
        opened = stage.key.open(item.ciphertext)
        links[item.label] = pair_secret(
            stage.agreed[item.label],
            opened,
            item.ciphertext,
            labels={label, item.label},
            session=session.digest,
        )
    return PairKeys(session, label, 1, links)
