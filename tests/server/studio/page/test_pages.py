import csv
import io
import re
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.server.studio.page.conftest import HOSTILE, MARKS

import sottovoce_server.studio.page
from sottovoce.files import sha256_file
from sottovoce.studio.requests import ClassificationRequest, EditRequest, GenerationRequest
from sottovoce_server.studio.door import COOKIE
from sottovoce_server.studio.page.words import NO_SIGN, duration, finding
from sottovoce_server.studio.schema import Kind

PAGE = Path(sottovoce_server.studio.page.__file__).parent
PAGES = ("/create", "/edit", "/recognise", "/origin", "/models", "/results")
HTMX = {"HX-Request": "true"}


class Elements(HTMLParser):
    """All elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def elements(text, *tags):
    return [attributes for tag, attributes in Elements(text).found if tag in tags]


def create(studio, code=303, **fields):
    values = {"model": "isles-maker", "style": "reel", "seconds": "0.5", "count": "2"} | fields
    return studio("POST", "/create", files={name: (None, value) for name, value in values.items()}, code=code)


def made(studio, **fields):
    """A job's id."""
    return create(studio, **fields).headers["location"].rpartition("/")[2]


@pytest.fixture(autouse=True)
def stay(studio, members):
    studio.client.follow_redirects = members.client.follow_redirects = False


@pytest.mark.parametrize("path", PAGES)
def test_a_page_renders_and_allows_nothing_from_elsewhere(pages, audio, path):
    made(pages)
    for address in ("/recognise", "/origin"):
        values = {"file": (HOSTILE, audio)} | ({"model": (None, "isles-style")} if address == "/recognise" else {})
        pages("POST", address, files=values, code=303)
    answer = pages("GET", path, code=200)
    policy = answer.headers["content-security-policy"]
    assert re.search(r"style-src 'self' 'nonce-[\w-]{20,}'", policy)
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    nonce = elements(answer.text, "meta")[3]["content"]
    assert f"'nonce-{nonce}'" in policy
    assert nonce not in pages("GET", path).headers["content-security-policy"]  # a new one each time
    for tag, attributes in Elements(answer.text).found:
        assert tag not in ("script", "style") or attributes.get("src", "").startswith("/static/")
        assert not {"style", "onclick", "onload", "hx-on"} & set(attributes), (tag, attributes)
    assert "<img" not in answer.text
    assert [
        attributes["aria-current"] for attributes in elements(answer.text, "a") if "aria-current" in attributes
    ] == ["page"]


def test_what_users_type_is_shown_as_they_typed_it(pages, audio):
    job = pages("POST", "/origin", files={"file": (HOSTILE, audio)}, code=303).headers["location"]
    text = pages("GET", job, code=200).text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in text
    assert "&lt;b&gt;bold" in text
    assert "<b>bold" not in text


def test_no_file_names_another_host():
    files = [each for each in PAGE.rglob("*") if each.suffix in (".jinja", ".js", ".css", ".svg")]
    assert len(files) > 20
    for file in files:
        found = re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}", file.read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org"}, file  # names of namespaces


def test_libraries_are_those_that_were_taken():
    vendor = PAGE / "static" / "vendor"
    listed = dict(
        reversed(line) for line in re.findall(r"(?m)^([0-9a-f]{64})  (\S+)$", (vendor / "README.md").read_text())
    )
    assert listed == {file.name: sha256_file(file) for file in vendor.glob("*.js")}
    assert {file.name for file in vendor.glob("*.LICENSE")} == {"htmx.LICENSE", "wavesurfer.LICENSE"}


@pytest.mark.parametrize(
    ("path", "declaration", "more"),
    [
        ("/create", GenerationRequest, {"model", "judge"}),
        ("/edit", EditRequest, {"model", "file"}),
        ("/recognise", ClassificationRequest, {"model", "file"}),
    ],
)
def test_a_form_has_the_declared_fields(pages, path, declaration, more):
    text = pages("GET", path, code=200).text
    names = {each["name"] for each in elements(text, "input", "select") if "name" in each}
    assert names == {field.name for field in fields(declaration)} | more


def test_numbers_have_the_declared_limits(pages):
    text = pages("GET", "/create", code=200).text
    found = {each["name"]: each for each in elements(text, "input") if each.get("type") == "number"}
    assert (found["seconds"]["min"], found["seconds"]["max"], found["seconds"]["value"]) == ("0.1", "3600.0", "10")
    assert (found["seed"]["placeholder"], found["seed"]["value"], found["seed"]["step"]) == ("random", "", "1")
    assert elements(text, "option")[1]["value"] == "fugue"


def test_styles_follow_the_model(pages):
    answer = pages("GET", "/create/styles?model=isles-maker", code=200, headers=HTMX)
    assert [each["value"] for each in elements(answer.text, "option")] == ["fugue", "reel", "tango"]


def test_a_form_that_is_sent_without_scripts_leads_to_the_job(pages):
    job = create(pages, count="3").headers["location"]
    text = pages("GET", job, code=200).text
    assert [each["src"] for each in elements(text, "audio")] == [f"/v1{job}/audio/{n}" for n in range(3)]
    assert 'data-state="done"' in text


def test_htmx_gets_the_card_and_follows_it_until_it_ends(pages):
    pages.engine.work = None
    values = {name: (None, value) for name, value in {"model": "isles-maker", "style": "reel"}.items()}
    answer = pages("POST", "/create", files=values, headers=HTMX, code=200)
    [card] = elements(answer.text, "section")
    assert card["data-state"] == "queued"
    pages.engine.work = lambda job, folder: ({"claim": 1, "audio": []}, [])
    pages.engine.wake()
    [card] = elements(pages("GET", card["hx-get"], headers=HTMX, code=200).text, "section")
    assert card["data-state"] == "done"
    assert "hx-get" not in card


def test_cancel_stops_the_job(pages):
    pages.engine.work = None
    job = made(pages)
    assert pages("POST", f"/jobs/{job}/cancel", code=303).headers["location"] == f"/jobs/{job}"
    assert "Cancelled" in pages("GET", f"/jobs/{job}", code=200).text
    assert pages.queue.find(job, "").state == "cancelled"
    assert not pages.queue.folder(job).exists()


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("/create", {"model": "isles-maker", "style": "polka"}, "does not know this style"),
        ("/create", {"model": "isles-maker", "style": "reel", "seconds": "a lot"}, "seconds"),
        ("/create", {"style": "reel"}, "model"),
        ("/edit", {"gain": "-3"}, "Send a file"),
        ("/edit", {"gain": "-3", "source": "0" * 32 + "/0"}, "There is no such piece"),
        ("/recognise", {"model": "nothing"}, "no release"),
    ],
)
def test_errors_are_in_words_beside_the_form_or_on_a_page(pages, path, values, said):
    form = {name: (None, value) for name, value in values.items()}
    beside = pages("POST", path, files=form, headers=HTMX)
    assert 400 <= beside.status_code < 500
    assert beside.headers["hx-retarget"] == "#problem"
    alone = pages("POST", path, files=form)
    assert alone.status_code == beside.status_code
    for text in (beside.text, alone.text):
        assert said in text
        assert 'role="alert"' in text
    assert "<nav" in alone.text


def test_an_empty_field_for_a_file_is_no_file(pages):
    job = made(pages)
    values = {"source": (None, f"{job}/0"), "gain": (None, "-3"), "file": ("", b"")}
    pages("POST", "/edit", files=values, code=303)


@pytest.mark.parametrize("path", ["/nonsense", "/jobs/nonsense", "/jobs/" + "0" * 32 + "/card", "/%00"])
def test_what_is_not_there_is_said_on_a_page(pages, path):
    answer = pages("GET", path, code=404)
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text


def test_the_interface_still_answers_in_json(pages):
    assert pages("GET", "/v1/jobs/nonsense", code=404).headers["content-type"] == "application/problem+json"


def test_a_mistake_of_the_studio_is_said_without_a_trace(pages, monkeypatch):
    monkeypatch.setattr(pages.queue, "latest", lambda *_: 1 / 0)
    answer = pages("GET", "/results", code=500)
    assert "The studio made a mistake" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_one_take_is_kept(pages):
    job = made(pages)
    for number in (0, 1):
        answer = pages("POST", f"/jobs/{job}/keep", data={"number": str(number)}, headers=HTMX, code=200)
        assert [each["aria-pressed"] for each in elements(answer.text, "button")] == [
            "true" if each == number else "false" for each in (0, 1)
        ]
    assert pages("GET", f"/v1/jobs/{job}").json()["kept"] == 1
    assert "take 2 kept" in pages("GET", "/results").text
    assert f"/edit?piece={job}/1" in pages("GET", "/edit").text
    assert f"/edit?piece={job}/0" not in pages("GET", "/edit").text
    pages("POST", f"/jobs/{job}/keep", data={"number": "2"}, code=404)
    pages("POST", f"/jobs/{job}/keep", code=303)
    assert pages("GET", f"/v1/jobs/{job}").json()["kept"] is None


def edit(studio, source, **values):
    form = {name: (None, value) for name, value in {"source": source, **values}.items()}
    job = studio("POST", "/edit", files=form, code=303).headers["location"].rpartition("/")[2]
    return f"{job}/0"


def steps(studio, address):
    text = studio("GET", address, code=200).text
    chain = [each for each in elements(text, "a") if "&tip=" in each["href"] and "data-undo" not in each]
    current = [number for number, each in enumerate(chain) if "aria-current" in each]
    undo = [each["href"] for each in elements(text, "a") if "data-undo" in each]
    return [each["href"].partition("piece=")[2].partition("&")[0] for each in chain], current, undo


def test_a_chain_of_edits_can_be_undone_and_redone(pages):
    first = f"{made(pages)}/1"
    second = edit(pages, first, gain="-3")
    third = edit(pages, second, fade_in="1")
    chain, current, [undo] = steps(pages, f"/edit?piece={third}")
    assert (chain, current) == ([first, second, third], [2])
    assert steps(pages, undo)[:2] == ([first, second, third], [1])  # what was undone is still there
    other = edit(pages, second, fade_out="1")
    assert steps(pages, f"/edit?piece={other}&tip={third}")[:2] == ([first, second, other], [2])
    assert steps(pages, f"/edit?piece={first}")[2] == []


def test_an_edit_ends_on_the_bench_with_its_result(pages):
    piece = edit(pages, f"{made(pages)}/0", gain="-3")
    answer = pages("GET", f"/edit/{piece.partition('/')[0]}/card", headers=HTMX, code=200)
    assert answer.headers["hx-retarget"] == "#bench"
    assert answer.headers["hx-push-url"] == f"/edit?piece={piece}"
    assert len(elements(answer.text, "sv-player")) == 2  # after and before


@pytest.mark.parametrize("piece", ["x", "/", "0" * 32 + "/0", "<b>/1"])
def test_a_piece_that_is_not_there_is_said(pages, piece):
    assert "no longer here" in pages("GET", f"/edit?piece={piece}", code=200).text


def test_recognised_styles_are_a_table_and_a_csv(pages, audio):
    values = {"model": (None, "isles-style"), "over_time": (None, "true")}
    for name in ("=1+1.wav", "b.wav"):
        answer = pages("POST", "/recognise", files=values | {"file": (name, audio)}, headers=HTMX, code=200)
    assert len([each for each in elements(answer.text, "tr") if "data-job" in each]) == 2
    assert [each["height"] for each in elements(answer.text, "rect")][:3] == ["4.0", "90.0", "6.0"]
    assert "hx-trigger" not in dict(Elements(answer.text).found)["div"]  # all have ended
    table = list(csv.DictReader(io.StringIO(pages("GET", "/recognise/styles.csv", code=200).text)))
    assert [(row["file"], row["start"], row["style"], row["tango"]) for row in table[3:]] == [
        ("'=1+1.wav", "", "reel", "0.2000"),
        ("'=1+1.wav", "0.0", "reel", "0.0600"),
        ("'=1+1.wav", "4.0", "tango", "0.5000"),
    ]


@pytest.mark.parametrize(
    ("change", "said", "tone"),
    [
        ({}, NO_SIGN, "plain"),
        (
            {"state": "trusted", "source_type": "x/trainedAlgorithmicMedia", "same_audio": True},
            "not been changed",
            "good",
        ),
        ({"state": "unknown signer", "source_type": None, "same_audio": True}, "does not know", "plain"),
        ({"state": "unknown signer", "same_audio": False}, "belong to other audio", "bad"),
        ({"state": "changed", "same_audio": True}, "changed after it was signed", "bad"),
        ({"state": "invalid"}, "damaged or forged", "bad"),
    ],
)
def test_where_a_file_comes_from_is_said_in_words(change, said, tone):
    found = finding({**MARKS, "credentials": MARKS["credentials"] | change}, [])
    assert said in found.verdict
    assert found.tone == tone


def test_a_watermark_without_credentials_is_said(shelf):
    mark = {"payload": "00" * 8, "score": 7.1, "start": 0.0, "stop": 9.0}
    found = finding({**MARKS, "watermarks": [mark]}, shelf.releases().values())
    assert "Its credentials were removed" in found.verdict
    assert "a release that is not here" in dict(found.rows)["Watermark"][0]


def test_models_say_who_made_them_with_what_promise(pages):
    text = pages("GET", "/models", code=200).text
    for part in ("isles-style", "isles-maker", "3 labels", "ε ≤ 8", "not confirmed here", "What was checked"):
        assert part in text


def test_results_say_what_is_kept(pages):
    made(pages)
    text = pages("GET", "/results", code=200).text
    assert "24 hours" in text
    assert "Created: reel" in text
    assert "deleted when the work on them ends" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (3.0, "3 s"), (59.4, "59 s"), (185.2, "3:05"), (3600, "1:00:00")]
)
def test_lengths_in_words(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("path", ["/", *PAGES])
def test_without_a_token_a_page_asks_for_one(members, path):
    answer = members("GET", path, code=303)
    assert answer.headers["location"] == f"/enter?back={path}"
    assert members("GET", path, headers=HTMX).headers["hx-redirect"] == "/enter"


def test_a_token_enters_and_leaves(members):
    token = members.token()
    refused = members("POST", "/enter", data={"token": "x" * 20, "back": "/edit"}, code=401)
    assert "unknown, expired or revoked" in refused.text
    assert COOKIE not in members.client.cookies
    entered = members("POST", "/enter", data={"token": f" {token} ", "back": "/edit"}, code=303)
    assert entered.headers["location"] == "/edit"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert "Log out" in members("GET", "/edit", code=200).text
    assert f'{COOKIE}=""' in members("POST", "/leave", code=303).headers["set-cookie"]
    members("GET", "/edit", code=303)


def test_over_https_the_cookie_is_secure(members):
    answer = members("POST", "https://localhost:8480/enter", data={"token": members.token()}, code=303)
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("back", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", ""])
def test_entering_leads_nowhere_else(members, back):
    answer = members("POST", "/enter", data={"token": members.token(), "back": back}, code=303)
    assert answer.headers["location"] == "/"


def test_another_sites_form_is_refused(pages):
    answer = pages("POST", "/create", headers={"Origin": "https://elsewhere.example"}, code=403)
    assert "another site" in answer.text


def test_one_users_pages_show_nothing_of_another(members):
    token, other = members.token(), members.token("bob")
    job = members.generate(token).json()["id"]
    for path in (f"/jobs/{job}", f"/jobs/{job}/card"):
        assert members("GET", path, token, code=200)
        assert members("GET", path, other, code=404)
    members("POST", f"/jobs/{job}/keep", other, data={"number": "0"}, code=404)
    members("POST", f"/jobs/{job}/cancel", other, code=404)
    assert job not in members("GET", "/results", other, code=200).text
    assert "no longer here" in members("GET", f"/edit?piece={job}/0", other, code=200).text


def test_kinds_have_names():
    from sottovoce_server.studio.page.words import KINDS

    assert set(KINDS) == set(Kind)
