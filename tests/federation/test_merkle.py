"""Merkle trees against the vectors of Certificate Transparency's reference implementation, and every forged proof."""

import pytest

from sottovoce.federation.merkle import (
    consistency_proof,
    extends,
    includes,
    inclusion_proof,
    leaf_hash,
    root,
)

ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]
ROOTS = [  # of the first 0, 1, … 8 entries: certificate-transparency, merkletree tests
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
"""The proof of the first of eight entries."""


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def test_a_proof_is_the_published_one():
    assert [step.hex() for step in inclusion_proof(LEAVES, 0)] == INCLUSION


def test_a_published_consistency_proof():
    """From one entry to eight: the inclusion proof's hashes, in its order."""
    assert [step.hex() for step in consistency_proof(LEAVES, 1)] == INCLUSION
    found = [step.hex()[:8] for step in consistency_proof(LEAVES, 6)]
    assert found == ["0ebc5d34", "ca854ea1", "d37ee418"]


def test_every_leaf_of_every_tree_is_included_and_no_other():
    for size in range(1, 9):
        tree = root(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(LEAVES[:size], index)
            assert includes(tree, size, LEAVES[index], index, proof)
            for forged in (proof[:-1], (*proof, tree), tuple(reversed(proof)) if len(set(proof)) > 1 else (tree,)):
                assert not includes(tree, size, LEAVES[index], index, forged) or forged == proof
            for other in range(size + 1):
                assert includes(tree, size, LEAVES[index], other, proof) is (other == index)
            assert not includes(tree, size, leaf_hash(b"another"), index, proof)


def test_every_tree_extends_every_earlier_one_and_from_no_other():
    for second in range(1, 9):
        for first in range(1, second + 1):
            proof, old, new = consistency_proof(LEAVES[:second], first), root(LEAVES[:first]), root(LEAVES[:second])
            assert extends(old, first, new, second, proof)
            other = root([leaf_hash(b"another"), *LEAVES[1:first]])
            assert not extends(other, first, new, second, proof)
            assert not extends(old, first, other, second, proof)
            assert not extends(old, first, new, second, (*proof, new))
            if proof:
                assert not extends(old, first, new, second, proof[:-1])
                assert not extends(old, first, new, second, (leaf_hash(b""), *proof[1:])) or second == 1


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_sizes_that_cannot_be_prove_nothing(first, second):
    assert not extends(root(LEAVES[:3]), first, root(LEAVES[:3]), second, ())
    with pytest.raises(IndexError):
        consistency_proof(LEAVES[:second], first)
