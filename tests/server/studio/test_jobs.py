"""The queue as a state machine: no job is lost, none ends twice, and only its last worker may end it."""

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from sottovoce_server.studio.jobs import MOST_CLAIMS, STRIKES, WORE_OUT, Made, Refused
from sottovoce_server.studio.schema import State
from sottovoce_server.studio.settings import DAY, Limits

MADE = [Made(1.0)]


def test_jobs_are_taken_in_the_order_in_which_they_came(queue):
    put = [queue.put().id for _ in range(3)]
    assert [queue.claim("a").id for _ in put] == put
    assert queue.claim("a") is None


def test_a_worker_that_lost_its_job_changes_nothing(queue):
    queue.put()
    zombie = queue.claim("first")
    queue.lost("first", "It died.")
    taken = queue.claim("second")
    assert taken.claim == zombie.claim + 1
    queue.progress(zombie, 9, 10)
    assert not queue.end(zombie, {"by": "zombie"}, MADE, None)
    assert not queue.fail(zombie, "zombie")
    assert (queue.now(taken).state, queue.now(taken).total, queue.logged()) == (State.RUNNING, 0, [])
    assert queue.end(taken, {"by": "second"}, MADE, None)
    assert (queue.now(taken).result, len(queue.logged())) == ({"by": "second"}, 1)


def test_the_same_worker_that_took_a_job_twice_is_two(queue):
    queue.put()
    zombie = queue.claim("same")
    queue.lost("same", "It died.")
    queue.claim("same")
    assert not queue.end(zombie, {}, MADE, None)


def test_a_cancelled_job_stays_cancelled(queue):
    job = queue.put()
    taken = queue.claim("a")
    assert queue.cancel(job.id, "") == "a"
    queue.lost("a", "It died.")
    queue.recover()
    assert not queue.end(taken, {}, MADE, None)
    assert not queue.fail(taken, "no")
    assert queue.cancel(job.id, "") is None
    assert queue.claim("b") is None
    assert (queue.now(job).state, queue.logged()) == (State.CANCELLED, [])


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_what_has_ended_is_not_cancelled(queue, state):
    job = queue.put()
    taken = queue.claim("a")
    assert queue.end(taken, {}, MADE, None) if state is State.DONE else queue.fail(taken, "no")
    assert queue.cancel(job.id, "") is None
    queue.lost("a", "It died.")
    assert queue.now(job).state == state


def test_nobody_cancels_the_job_of_another(queue):
    job = queue.put(owner="ann")
    assert queue.cancel(job.id, "bob") is None
    assert queue.cancel(job.id, "") is None
    assert queue.now(job).state == State.QUEUED


def test_a_job_that_costs_two_workers_fails_in_words(queue):
    job = queue.put()
    for worker in range(STRIKES):
        assert queue.claim(str(worker)).id == job.id
        failed = queue.lost(str(worker), "It died.")
    assert failed == [job.id]
    found = queue.now(job)
    assert (found.state, found.problem) == (State.FAILED, "It died.")
    assert "2 times" in found.hint


def test_a_job_is_not_blamed_for_what_befell_its_worker_because_of_another(queue):
    late, job = queue.put(), queue.put()
    queue.end(queue.claim("a"), {}, MADE, None)
    queue.claim("a")
    for _ in range(5):
        assert queue.lost("a", "It took too long.", blamed=late.id) == []
        assert queue.lost("a", "It died.", blamed=None) == []
        assert queue.claim("a").id == job.id
    assert queue.now(job).strikes == 0


def race(*calls):
    """What each call returned, all made at once."""
    results, start = [], threading.Barrier(len(calls))

    def run(call):
        start.wait()
        results.append(call())

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(calls)
    return results


def test_claims_at_once_never_take_the_same_job(queue):
    put = {queue.put().id for _ in range(40)}

    def claim(worker):
        return [job.id for job in iter(lambda: queue.claim(worker), None)]

    taken = [job for jobs in race(*(lambda worker=str(number): claim(worker) for number in range(4))) for job in jobs]
    assert sorted(taken) == sorted(put)


def test_cancelling_a_job_while_it_is_taken_stops_its_worker_or_keeps_it_from_one(queue):
    for _ in range(15):
        job = queue.put()
        found = race(lambda: queue.claim("a"), lambda job=job: queue.cancel(job.id, ""))
        taken = [each.id for each in found if each not in (None, "a")]
        assert taken in ([], [job.id])
        assert ("a" in found) == bool(taken)
        assert queue.now(job).state == State.CANCELLED


def test_cancelling_a_job_while_it_ends_does_one_of_both(queue):
    for _ in range(15):
        job = queue.put()
        taken = queue.claim("a")
        ended, _ = sorted(
            race(lambda taken=taken: queue.end(taken, {}, MADE, None), lambda job=job: queue.cancel(job.id, "")),
            key=lambda each: not isinstance(each, bool),
        )
        assert queue.now(job).state == (State.DONE if ended else State.CANCELLED)
        assert len(queue.logged(job)) == ended


def test_cancelling_a_job_while_its_worker_is_lost_does_not_bring_it_back(queue):
    for _ in range(15):
        job = queue.put()
        queue.claim("a")
        race(lambda: queue.lost("a", "It died."), lambda job=job: queue.cancel(job.id, ""))
        assert queue.now(job).state == State.CANCELLED
    assert queue.claim("b") is None


def test_a_repeated_request_is_the_same_job(queue):
    first = queue.put(key="k", fingerprint="1" * 64)
    assert queue.put(key="k", fingerprint="1" * 64).id == first.id
    assert queue.put(key="k", fingerprint="1" * 64, owner="ann").id != first.id
    assert queue.put(fingerprint="1" * 64).id != first.id
    with pytest.raises(Refused, match="another request"):
        queue.put(key="k", fingerprint="2" * 64)


def test_of_equal_requests_at_once_one_becomes_a_job(queue):
    found = race(*(lambda: queue.put(key="k", fingerprint="1" * 64).id for _ in range(4)))
    assert len(set(found)) == 1
    assert len(queue.latest("", 10)) == 1


def test_a_caller_has_only_so_many_jobs_at_a_time(queue):
    few = Limits(jobs_at_a_time=2)

    def put():
        try:
            return queue.put(limits=few).id
        except Refused as error:
            return error.status, error.wait > 0

    found = race(*[put] * 6)
    assert sorted(map(str, found))[:4] == ["(429, True)"] * 4
    assert len(queue.latest("", 10)) == 2
    queue.put(limits=few, owner="ann")
    queue.cancel(queue.latest("", 10)[0].id, "")
    assert isinstance(put(), str)


def test_a_day_has_only_so_many_seconds_and_what_waits_counts(queue):
    day = Limits(longest_seconds=50, seconds_per_day=100)
    with pytest.raises(Refused, match="more than the 50 allowed") as refusal:
        queue.put(limits=day, seconds=51.0)
    assert refusal.value.status == 422
    first, second = (queue.put(limits=day, seconds=50.0) for _ in range(2))
    with pytest.raises(Refused, match="within a day") as refusal:
        queue.put(limits=day, seconds=1.0)
    assert (refusal.value.status, refusal.value.wait) == (429, 3600)
    queue.put(limits=day, seconds=50.0, owner="ann")
    queue.cancel(first.id, "")
    queue.end(queue.claim("a"), {}, [Made(50.0)], None)
    assert queue.now(second).state == State.DONE
    queue.put(limits=day, seconds=50.0)
    with pytest.raises(Refused, match="within a day"):
        queue.put(limits=day, seconds=1.0)


def test_seconds_of_the_day_before_are_forgotten(queue, monkeypatch):
    day = Limits(seconds_per_day=100)
    queue.put(limits=day, seconds=100.0)
    queue.end(queue.claim("a"), {}, [Made(100.0)], None)
    with pytest.raises(Refused):
        queue.put(limits=day, seconds=1.0)
    now = time.time()
    monkeypatch.setattr("sottovoce_server.studio.jobs.time.time", lambda: now + DAY + 1)
    queue.put(limits=day, seconds=100.0)


def test_jobs_are_forgotten_after_they_ended_and_the_log_is_not(queue):
    waiting, running, done = (queue.put() for _ in range(3))
    for _ in range(2):
        queue.claim("a")
    with_result = queue.now(waiting)
    queue.end(with_result, {}, MADE, "ann")
    assert queue.forget(before=0.0) == []
    assert queue.forget(before=1e12) == [waiting.id]
    assert [queue.now(job).state for job in (running, done)] == [State.RUNNING, State.QUEUED]
    assert [each.job for each in queue.logged()] == [waiting.id]


def test_a_job_during_which_the_studio_always_ends_fails(queue):
    job = queue.put()
    for number in range(MOST_CLAIMS):
        assert queue.claim(str(number)).id == job.id
        queue.recover()
    assert queue.claim("next") is None
    assert (queue.now(job).state, queue.now(job).problem) == (State.FAILED, WORE_OUT)


class Life(RuleBasedStateMachine):
    """Any order of what users, workers and the studio do, beside what should come of it."""

    queue = None
    ids, held = Bundle("ids"), Bundle("held")
    workers = st.sampled_from(["a", "b", "c"])

    def __init__(self):
        super().__init__()
        self.queue.clear()
        self.jobs = {}

    @rule(target=ids)
    def put(self):
        job = self.queue.put().id
        self.jobs[job] = {"state": "queued", "worker": None, "claim": 0, "strikes": 0, "logged": 0}
        return job

    @rule(target=held, worker=workers)
    def claim(self, worker):
        waiting = [job for job, each in self.jobs.items() if each["state"] == "queued"]
        taken = self.queue.claim(worker)
        if not waiting:
            assert taken is None
            return multiple()
        job = self.jobs[waiting[0]]
        job |= {"state": "running", "worker": worker, "claim": job["claim"] + 1}
        assert (taken.id, taken.claim) == (waiting[0], job["claim"])
        return taken

    def _is_held(self, taken):
        job = self.jobs[taken.id]
        return (job["state"], job["worker"], job["claim"]) == ("running", taken.worker, taken.claim)

    @rule(taken=held, made=st.integers(0, 3))
    def end(self, taken, made):
        held = self._is_held(taken)
        assert self.queue.end(taken, {}, MADE * made, None) == held
        if held:
            self.jobs[taken.id] |= {"state": "done", "logged": made}

    @rule(taken=held)
    def fail(self, taken):
        held = self._is_held(taken)
        assert self.queue.fail(taken, "It cannot be done.") == held
        if held:
            self.jobs[taken.id]["state"] = "failed"

    @rule(taken=held)
    def progress(self, taken):
        self.queue.progress(taken, 1, 2)

    @rule(worker=workers, guilty=st.booleans())
    def lose(self, worker, guilty):
        failed = self.queue.lost(worker, "It died.", **({} if guilty else {"blamed": None}))
        for name, job in self.jobs.items():
            if (job["state"], job["worker"]) == ("running", worker):
                job["strikes"] += guilty
                assert (name in failed) == (job["strikes"] >= STRIKES)
                job |= {"state": "failed"} if name in failed else {"state": "queued", "worker": None}

    @rule(job=ids)
    def cancel(self, job):
        now = self.jobs[job]
        stopped = self.queue.cancel(job, "")
        assert stopped == (now["worker"] if now["state"] == "running" else None)
        if now["state"] in ("queued", "running"):
            now["state"] = "cancelled"

    @rule()
    def restart(self):
        self.queue.recover()
        for job in self.jobs.values():
            if job["state"] == "running":
                job |= {"state": "failed"} if job["claim"] >= MOST_CLAIMS else {"state": "queued", "worker": None}

    @rule()
    def forget(self):
        ended = {name for name, job in self.jobs.items() if job["state"] not in ("queued", "running", "forgotten")}
        assert set(self.queue.forget(before=1e12)) == ended
        for name in ended:
            self.jobs[name]["state"] = "forgotten"

    @invariant()
    def nothing_is_lost_and_nothing_ends_twice(self):
        known = {job.id: job for job in self.queue.latest("", 1000)}
        logged = [each.job for each in self.queue.logged()]
        assert len(logged) == sum(job["logged"] for job in self.jobs.values())
        for name, job in self.jobs.items():
            assert logged.count(name) == job["logged"]
            now = known.pop(name, None)
            assert job["state"] == ("forgotten" if now is None else now.state)
            if now is not None:
                assert (now.worker, now.claim, now.strikes) == (job["worker"], job["claim"], job["strikes"])
        assert known == {}


def test_no_order_of_events_loses_or_doubles_a_job(queue):
    Life.queue = queue
    run_state_machine_as_test(Life, settings=settings(max_examples=10, stateful_step_count=20, deadline=None))
