"""Merkle trees as RFC 9162 (section 2.1, after RFC 6962) defines them: roots, inclusion and consistency proofs.

Hashes are SHA-256 (32 bytes). A leaf is hashed after a byte 0x00 and a node after 0x01, so that neither can be mistaken
for the other. Proofs are lists of hashes, from the leaves towards the root.
"""

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves (section 2.1.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return node_hash(root(leaves[:split]), root(leaves[split:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Proof that the leaf with this index is in the tree (section 2.1.3.1).

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), root(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), root(leaves[:split]))


def consistency_proof(leaves: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """Proof that the tree over all leaves extends the tree over the `first` ones (section 2.1.4.1).

    Raises:
        IndexError: `first` is below 1 or above the number of leaves.
    """
    if not 1 <= first <= len(leaves):
        raise IndexError(first)
    return _subproof(leaves, first, whole=True)


def _subproof(leaves: Sequence[bytes], first: int, *, whole: bool) -> tuple[bytes, ...]:
    if first == len(leaves):
        return () if whole else (root(leaves),)
    split = _split(len(leaves))
    if first <= split:
        return (*_subproof(leaves[:split], first, whole=whole), root(leaves[split:]))
    return (*_subproof(leaves[split:], first - split, whole=False), root(leaves[:split]))


def includes(tree: bytes, size: int, leaf: bytes, index: int, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows a leaf's hash at this index of a tree with this root and size (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(step, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, step)
        number, last = number >> 1, last >> 1
    return last == 0 and found == tree


def extends(first: bytes, first_size: int, second: bytes, second_size: int, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the second tree extends the first (section 2.1.4.2)."""
    if not 1 <= first_size <= second_size:
        return False
    if first_size == second_size:
        return not proof and first == second
    path = list(proof) if first_size & (first_size - 1) else [first, *proof]
    if not path:
        return False
    number, last = first_size - 1, second_size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, step)
        number, last = number >> 1, last >> 1
    return last == 0 and old == first and new == second


def _split(size: int) -> int:
    """The largest power of two below `size`; `size` is at least 2."""
    return 1 << (size - 1).bit_length() - 1
