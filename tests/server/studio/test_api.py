"""The service as its users call it: jobs, events, audio and the log. The work is made up here."""

import csv
import io
import json
import re

import pytest

from sottovoce.errors import ConfigurationError


def events(text):
    """Names and data of server-sent events."""
    found = re.findall(r"event: (\w+)\r?\ndata: (.*)", text)
    return [(name, json.loads(data)) for name, data in found]


def test_models_are_listed_with_what_was_verified(studio, release):
    listed = studio("GET", "/v1/models", code=200).json()["models"]
    assert {(each["name"], each["task"]) for each in listed} == {("isles-style", "style"), ("isles-maker", "generator")}
    one = studio("GET", "/v1/models/isles-style", code=200).json()
    assert one in listed
    assert one["privacy"]
    assert one["checks"]
    assert not one["vouched"]
    assert studio("GET", f"/v1/models/isles-style@{one['version']}", code=200).json() == one
    studio("GET", "/v1/models/other", code=404)


def test_a_request_becomes_a_job_that_can_be_followed(studio):
    studio.engine.work = None
    answer = studio.generate(count=2)
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["ahead"], job["progress"], job["audio"]) == ("queued", 0, 0.0, [])
    assert studio.generate().json()["ahead"] == 1
    taken = studio.queue.claim("w")
    studio.queue.progress(taken, 1, 4)
    running = studio("GET", f"/v1/jobs/{job['id']}").json()
    assert (running["state"], running["progress"], running["ahead"]) == ("running", 0.25, None)
    assert running["seconds_left"] >= 0
    studio.engine.do(taken)
    done = studio("GET", f"/v1/jobs/{job['id']}").json()
    assert (done["state"], done["progress"], len(done["audio"])) == ("done", 1.0, 2)
    assert [each["id"] for each in studio("GET", "/v1/jobs").json()["jobs"]][-1] == job["id"]
    assert studio("GET", "/v1/jobs?kind=edit").json() == {"jobs": []}
    studio("GET", "/v1/jobs/" + "0" * 32, code=404)


def test_whoever_prefers_waits_for_the_answer(studio):
    answer = studio.generate(code=200, headers={"Prefer": "respond-async, wait=5"})
    assert answer.json()["state"] == "done"
    studio.engine.work = None
    assert studio.generate(headers={"Prefer": "wait=0"}).json()["state"] == "queued"
    for nonsense in ("wait", "wait=-1", "wait=soon", "wait=1e9", "=", ","):
        assert studio.generate(headers={"Prefer": nonsense}).json()["state"] == "queued"


def test_a_failed_job_says_why_and_what_to_do(studio):
    def refuse(job, folder):
        raise ConfigurationError("The file is silent.", hint="Choose another file.")

    studio.engine.work = refuse
    job = studio.inspect(code=200, headers={"Prefer": "wait=5"}).json()
    assert (job["state"], job["problem"], job["hint"]) == ("failed", "The file is silent.", "Choose another file.")


def test_events_come_in_order(studio):
    studio.engine.work = None
    job = studio.generate().json()["id"]
    seen = iter(["claim", "progress", "end"])
    find = studio.queue.find

    def happens(job, owner):
        step = next(seen, None)
        if step == "claim":
            studio.taken = studio.queue.claim("w")
        elif step == "progress":
            studio.queue.progress(studio.taken, 1, 2)
        elif step == "end":
            studio.queue.end(studio.taken, {"fine": True}, [], None)
        return find(job, owner)

    with pytest.MonkeyPatch.context() as patch:
        found = find(job, "")
        patch.setattr(studio.queue, "find", lambda job, owner: (patch.setattr(studio.queue, "find", happens), found)[1])
        answer = studio("GET", f"/v1/jobs/{job}/events", code=200)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [(name, data["state"]) for name, data in events(answer.text)] == [
        ("queued", "queued"),
        ("started", "running"),
        ("progress", "running"),
        ("done", "done"),
    ]
    again = studio("GET", f"/v1/jobs/{job}/events", code=200)
    assert [name for name, _ in events(again.text)] == ["done"]


def test_events_end_when_a_job_is_forgotten(studio):
    studio.engine.work = None
    job = studio.generate().json()["id"]
    find = studio.queue.find

    def forgotten(job, owner):
        studio.queue.clear()

    with pytest.MonkeyPatch.context() as patch:
        found = find(job, "")
        patch.setattr(
            studio.queue, "find", lambda job, owner: (patch.setattr(studio.queue, "find", forgotten), found)[1]
        )
        answer = studio("GET", f"/v1/jobs/{job}/events", code=200)
    assert [name for name, _ in events(answer.text)] == ["queued"]


def test_audio_has_ranges_and_an_etag(studio):
    job = studio.generate(code=200, headers={"Prefer": "wait=5"}).json()
    (piece,) = job["audio"]
    whole = studio("GET", piece["url"], code=200)
    assert whole.headers["content-type"] == "audio/flac"
    assert whole.content[:4] == b"fLaC"
    assert whole.headers["etag"] == f'"{piece["sha256"]["flac"]}"'
    assert studio("GET", f"{piece['url']}?format=wav", code=200).content[:4] == b"RIFF"
    assert studio("HEAD", piece["url"], code=200).content == b""
    etag = {"If-None-Match": whole.headers["etag"]}
    assert studio("GET", piece["url"], code=304, headers=etag).content == b""
    part = studio("GET", piece["url"], code=206, headers={"Range": "bytes=4-9"})
    assert part.content == whole.content[4:10]
    assert part.headers["content-range"] == f"bytes 4-9/{len(whole.content)}"
    fresh = {"Range": "bytes=4-9", "If-Range": whole.headers["etag"]}
    assert studio("GET", piece["url"], code=206, headers=fresh).content == part.content
    stale = {"Range": "bytes=4-9", "If-Range": '"another"'}
    assert studio("GET", piece["url"], code=200, headers=stale).content == whole.content
    studio("GET", piece["url"], code=416, headers={"Range": "bytes=99999999-"})
    many = ",".join(f"{at}-{at + 1}" for at in range(0, 20_000, 2))
    assert len(studio("GET", piece["url"], headers={"Range": f"bytes={many}"}).content) < 10 * len(whole.content)
    for nothing in ("1", "99", "-1", "9" * 300, f"0?format=mp3{'x' * 300}"):
        assert studio("GET", f"/v1/jobs/{job['id']}/audio/{nothing}").status_code in (404, 422)


def test_a_piece_is_edited_further_after_its_name(studio):
    first = studio.generate(code=200, count=2, headers={"Prefer": "wait=5"}).json()["id"]
    sent = {}

    def note(job, folder):
        sent.update({each.name: each.read_bytes() for each in folder.iterdir()})
        return {}, []

    studio.engine.work = note
    studio("POST", "/v1/edits", json={"source": f"{first}/1", "gain": -3}, code=202)
    assert sent == {"upload.flac": studio("GET", f"/v1/jobs/{first}/audio/1").content}
    for wrong in (f"{first}/2", "0" * 32 + "/0"):
        studio("POST", "/v1/edits", json={"source": wrong, "gain": -3}, code=404)
    for wrong in (f"{first}", f"{first}/-1", f"../{first}/0", f"{first}/0\n", f"{first}/0/..", 5, None):
        studio("POST", "/v1/edits", json={"source": wrong, "gain": -3}, code=422)


def test_cancelling_stops_the_worker_and_deletes_the_upload(studio):
    studio.engine.work = None
    waiting, running, done = (studio.inspect().json()["id"] for _ in range(3))
    assert studio.queue.cancel(waiting, "") is None
    studio.queue.claim("the worker")
    assert studio("DELETE", f"/v1/jobs/{running}", code=200).json()["state"] == "cancelled"
    assert studio.engine.stopped == ["the worker"]
    assert not studio.queue.folder(running).exists()
    assert studio("DELETE", f"/v1/jobs/{running}", code=200).json()["state"] == "cancelled"
    assert studio.queue.folder(done).exists()
    assert studio("DELETE", f"/v1/jobs/{done}", code=200).json()["state"] == "cancelled"
    assert not studio.queue.folder(done).exists()
    assert studio.engine.stopped == ["the worker"]


def test_an_ended_job_stays_as_it_is_when_it_is_cancelled(studio):
    job = studio.generate(code=200, headers={"Prefer": "wait=5"}).json()
    assert studio("DELETE", f"/v1/jobs/{job['id']}", code=200).json() == job
    studio("GET", job["audio"][0]["url"], code=200)


def test_a_repeated_request_is_answered_with_the_same_job(studio):
    key = {"Idempotency-Key": "a"}
    first = studio.inspect(data=b"one", headers=key).json()["id"]
    folders = set(studio.queue.folder("").iterdir())
    assert studio.inspect(data=b"one", headers=key, code=200).json()["id"] == first
    assert set(studio.queue.folder("").iterdir()) == folders
    assert len(studio("GET", "/v1/jobs").json()["jobs"]) == 1
    refused = studio.inspect(data=b"two", headers=key, code=422).json()
    assert "another request" in refused["detail"]
    assert len(studio("GET", "/v1/jobs").json()["jobs"]) == 1
    studio.generate(headers=key, code=422)
    for wrong in ("", "x" * 256):
        studio.inspect(headers={"Idempotency-Key": wrong}, code=422)


def test_the_log_says_what_was_made(studio):
    studio.generate(count=2, seed=7)
    studio.inspect()
    entries = studio("GET", "/v1/log", code=200).json()["outputs"]
    assert [each["kind"] for each in entries] == ["generation", "generation", "inspection"]
    first = entries[0]
    assert (first["model"].partition("@")[0], first["number"], first["parameters"]["seed"]) == ("isles-maker", 0, 7)
    audio = studio("GET", f"/v1/jobs/{first['job']}").json()["audio"][0]
    assert first["audio"] == audio["sha256"]["flac"]
    month = first["time"][:7]
    rows = list(csv.DictReader(io.StringIO(studio("GET", f"/v1/log?format=csv&month={month}", code=200).text)))
    assert [json.loads(each["parameters"]) for each in rows] == [each["parameters"] for each in entries]
    for model, number in ((first["model"], 2), ("isles-maker", 2), ("isles", 0), ("isles%", 0)):
        assert len(studio("GET", "/v1/log", params={"model": model}).json()["outputs"]) == number
    for month in ("2000-01", "1999-12", "2999-12"):
        assert studio("GET", f"/v1/log?month={month}", code=200).json() == {"outputs": []}
    for month in ("2000-13", "0000-01", "9999-12", "2000-1", "2000-01%0A", "x"):
        studio("GET", f"/v1/log?month={month}", code=422)


def test_the_log_outlives_its_jobs_and_cannot_be_changed_over_http(studio):
    studio.inspect()
    studio.queue.forget(before=1e12)
    (entry,) = studio("GET", "/v1/log").json()["outputs"]
    studio("GET", f"/v1/jobs/{entry['job']}", code=404)
    for method in ("DELETE", "PUT", "POST", "PATCH"):
        studio(method, "/v1/log", code=405)


def test_what_is_wanted_must_fit_the_models(studio):
    def refused(**fields):
        return studio.generate(code=422, **fields).json()

    assert "no release" in refused(model="other")["detail"]
    assert "task" in refused(model="isles-style")["detail"]
    assert "reel" in refused(style="polka")["hint"]
    assert "16 pieces" in refused(count=17)["detail"]
    assert "judge" in refused(candidates=3)["detail"]
    assert "seconds" in refused(seconds=3601)["detail"]
    assert "more than the" in refused(seconds=601)["detail"]
    assert studio.queue.latest("", 10) == []


def test_health_needs_nothing(members):
    assert members("GET", "/v1/health", code=200)
    assert members("GET", "/v1/models", code=401)
