"""Who masks against whom, and how many it takes: the numbers that the argument in docs/protocol.md rests on."""

import random
from dataclasses import replace
from math import comb

import pytest

from sottovoce.protocol.messages import Roster
from sottovoce.protocol.session import Session
from sottovoce.protocol.topology import (
    COMMITTEE,
    FAILURE_BITS,
    MOST_DRAWS,
    Topology,
    least_honest,
    majority,
    most_corrupt,
    partner_count,
    share_threshold,
    threshold,
)
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

SIZES = (65, 66, 70, 99, 100, 101, 128, 129, 150, 200, 333, 1000)

PAPERS_BITS = 40


def topology(count: int, seed: bytes = bytes(32)) -> Topology:
    return Topology(tuple(f"label-{number:05}" for number in range(count)), seed)


def secagg_plus_partners(count: int) -> int:
    """k by the argument of Bell et al. (CCS 2020, section 3), for their random Harary graph, at our parameters.

    The adversary's set B (corrupt or dropped) is fixed before the graph is drawn. The others are disconnected only if
    two windows of k/2 consecutive places lie in B; a union bound over the pairs of windows gives a failure of 2^-40.
    """
    bad, half = 2 * most_corrupt(count), 1
    while 2 * half <= bad and comb(count, 2) * comb(count - 2 * half - 2, bad - 2 * half) << PAPERS_BITS > comb(
        count, bad
    ):
        half += 1
    return 2 * half


def connected(graph: Topology, removed: set[str]) -> bool:
    left = set(graph.members) - removed
    reached, edge = set(), {next(iter(left))}
    while edge:
        reached |= edge
        edge = {partner for label in edge for partner in graph.partners(label)} & left - reached
    return reached == left


@pytest.mark.parametrize("count", [3, 4, 10, 63, 64])
def test_up_to_64_everyone_masks_against_everyone_and_holds_shares(count: int) -> None:
    graph = topology(count)
    assert graph.holders == graph.members
    assert all(len(graph.partners(label)) == count - 1 for label in graph.members)
    assert graph.threshold == graph.share_threshold == 2 * count // 3 + 1


def test_two_survivor_sets_can_never_both_be_signed() -> None:
    """t + t signatures need more double signers than there are corrupt labels."""
    for count in range(3, 10_001):
        assert 2 * threshold(count) - count > most_corrupt(count)
        assert most_corrupt(count) < threshold(count) <= count


def test_no_run_and_no_sum_of_it_holds_fewer_honest_labels_than_is_relied_on() -> None:
    """Tried out: every size of a run, every number of survivors and of colluding labels; one is curious anyway."""
    for labels in range(3, 16):
        for n_min in range(1, labels + 1):
            sums = [
                survivors - max(corrupt, 1)
                for members in range(n_min, labels + 1)
                for survivors in range(max(2 * members // 3 + 1, n_min), members + 1)
                for corrupt in range(members)
                if 3 * corrupt < members
            ]
            assert least_honest(labels, n_min) == min(sums)


def test_a_majority_is_the_least_that_is_more_than_half() -> None:
    for labels in range(1, 20):
        assert 2 * majority(labels) > labels >= 2 * (majority(labels) - 1)


@pytest.mark.usefixtures("small_committee")
def test_a_label_has_keys_with_its_partners_its_holders_and_those_whose_shares_it_holds() -> None:
    graph = topology(12)
    for label in graph.members:
        peers = {*graph.partners(label), *graph.holders} - {label}
        assert set(graph.peers(label)) == (peers if label not in graph.holders else set(graph.members) - {label})
        assert all(label in graph.peers(peer) for peer in peers)


@pytest.mark.parametrize("count", SIZES)
def test_partners_are_mutual_and_as_many_as_said(count: int) -> None:
    graph = topology(count)
    partners = {label: set(graph.partners(label)) for label in graph.members}
    for label, others in partners.items():
        assert len(others) == partner_count(count)
        assert label not in others
        assert all(label in partners[other] for other in others)


def test_no_choice_of_drop_outs_cuts_the_partner_graph() -> None:
    """A Harary graph of even degree k stays connected without any k - 1 vertices (Harary, PNAS 1962)."""
    for count in range(65, 10_001):
        assert partner_count(count) == count - 1 or partner_count(count) % 2 == 0
        assert partner_count(count) > most_corrupt(count) + (count - threshold(count))


@pytest.mark.parametrize("count", [70, 100, 150])
def test_honest_survivors_stay_connected_when_the_worst_are_taken_away(count: int) -> None:
    graph, chance = topology(count), random.Random(count)
    budget = most_corrupt(count) + count - threshold(count)
    circle = graph._circle
    for trial in range(20):
        start = chance.randrange(count)
        half = budget // 2
        windows = {circle[(start + step) % count] for step in range(half)}
        windows |= {circle[(start + half + 1 + trial + step) % count] for step in range(budget - half)}
        assert connected(graph, windows)
        assert connected(graph, set(chance.sample(graph.members, budget)))


def test_why_the_bound_of_secagg_plus_is_not_enough_here() -> None:
    """A coordinator that picks the drop-outs after the graph is drawn isolates a label with k = 54 of 100."""
    count = 100
    known = secagg_plus_partners(count)
    assert known == 54
    drops = count - threshold(count)
    expected_corrupt_partners = known * most_corrupt(count) / count
    assert known - expected_corrupt_partners < drops + 5  # a few corrupt partners more than expected are enough
    assert partner_count(count) == 68
    assert partner_count(count) - most_corrupt(count) > drops  # not even if every corrupt label is a partner


@pytest.mark.parametrize("count", SIZES)
def test_our_partners_are_at_least_those_of_secagg_plus(count: int) -> None:
    assert partner_count(count) >= min(count - 1, secagg_plus_partners(count))


@pytest.mark.parametrize("count", [size for size in SIZES if size > COMMITTEE])
def test_corrupt_labels_alone_never_make_a_committees_threshold(count: int) -> None:
    """The hypergeometric tail, computed here term by term, is below 2^-84 at the threshold and above it one lower."""
    corrupt, needed = most_corrupt(count), share_threshold(count)
    bits = FAILURE_BITS + 4
    assert MOST_DRAWS == 2**4

    def tail(least: int) -> int:
        return sum(
            comb(corrupt, members) * comb(count - corrupt, COMMITTEE - members)
            for members in range(least, min(corrupt, COMMITTEE) + 1)
        )

    assert tail(needed) << bits <= comb(count, COMMITTEE) < tail(needed - 1) << bits
    assert needed <= COMMITTEE


def test_a_committee_is_128_of_the_participants_and_drawn_anew() -> None:
    one, other = topology(140, bytes(32)), topology(140, bytes(31) + b"\x01")
    for graph in (one, other):
        assert len(graph.holders) == COMMITTEE
        assert list(graph.holders) == sorted(graph.holders)
        assert set(graph.holders) < set(graph.members)
    assert one.holders != other.holders
    assert one.partners("label-00000") != other.partners("label-00000")
    assert one.holders == topology(140).holders


def test_draws_are_even() -> None:
    """Each of 140 labels is in a committee of 128 in 128/140 of the draws."""
    draws = 400
    counts = dict.fromkeys(topology(140).members, 0)
    for number in range(draws):
        for label in topology(140, number.to_bytes(32)).holders:
            counts[label] += 1
    assert all(abs(count / draws - 128 / 140) < 0.08 for count in counts.values())


def test_the_draw_depends_on_every_members_advert_and_nonce_and_on_nothing_else() -> None:
    """Whatever else entered it, a coordinator could change until it likes who holds shares."""
    table = InMemoryRounds(5)
    table.join()
    adverts, reveals = table.aggregator._assembly.adverts, tuple(table.aggregator._assembly.reveals.values())
    roster = Roster(table.aggregator.announcement.run, tuple(adverts.values()))
    rosters = [replace(roster, run=bytes(16))]
    nonces = [reveals]
    for place, (advert, reveal) in enumerate(zip(roster.adverts, reveals, strict=True)):
        changed = (*roster.adverts[:place], replace(advert, epsilon=7.0), *roster.adverts[place + 1 :])
        rosters.append(replace(roster, adverts=changed))
        nonces.append((*reveals[:place], replace(reveal, nonce=bytes(32)), *reveals[place + 1 :]))
    digests = [Session.of(each, reveals, 3).digest for each in rosters] + [
        Session.of(roster, each, 3).digest for each in nonces
    ]
    assert len(set(digests)) == len(digests) == 12
    assert digests[6] == table.aggregator.session.digest
    resigned = tuple(replace(reveal, signature=bytes(64)) for reveal in reveals)
    assert Session.of(roster, resigned, 3).digest == table.aggregator.session.digest
