"""The pages in a real browser, each way from drop to download."""

import csv
import shutil
import threading
import time

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from tests.server.studio.page.conftest import worked

from sottovoce_server.studio.settings import Limits
from sottovoce_server.studio.work import Warm, Work

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium"),
]
PAGES = ("/create", "/edit", "/recognise", "/origin", "/models", "/results")
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


def served(studio):
    server = uvicorn.Server(uvicorn.Config(studio.app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def open_address(open_studio):
    yield from served(open_studio)


@pytest.fixture(scope="module")
def closed_address(closed_studio):
    yield from served(closed_studio)


@pytest.fixture
def page(browser, pages, open_address):
    """A new page of a studio, that must neither ask elsewhere nor fail."""
    context = browser.new_context(
        base_url=open_address, reduced_motion="reduce", viewport={"width": 1280, "height": 900}
    )
    context.add_init_script(WATCH)
    found, requests, errors = context.new_page(), [], []
    found.on("request", lambda request: requests.append(request.url))
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    assert found.evaluate("violations") == []
    assert errors == []
    assert {url for url in requests if not url.startswith((f"{open_address}/", "blob:", "data:"))} == set()
    context.close()


def create(page, takes):
    page.goto("/create")
    page.fill("#f-seconds", "0.5")
    page.fill("#f-count", str(takes))
    page.click("text=Make music")
    page.wait_for_selector(f":nth-match(sv-player[data-ready], {takes})")


def until(page, condition):
    """Wait for a condition; Playwright's own way evaluates text in the page, which its policy forbids."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)


def names(page):
    return page.locator("[data-take] h3:visible").all_inner_texts()


def test_takes_are_heard_compared_blind_and_one_is_kept(page, pages):
    create(page, 3)
    assert page.get_attribute("[data-take] .picture", "aria-label") == "Take 1: waveform and spectrogram"
    drawn = "document.querySelector('.picture > div').shadowRoot.querySelectorAll('canvas').length"
    assert page.evaluate(drawn) >= 3  # the waveform twice, and the spectrogram
    page.click("[aria-label='Loop Take 1']")
    page.click("[aria-label='Play Take 1']")
    position = "document.querySelector('sv-player').surfer.getCurrentTime()"
    until(page, f"{position} > 0.3")
    until(page, f"{position} < 0.3")  # from the start again
    page.keyboard.press("2")  # plays the second take, and nothing else
    until(page, "[...document.querySelectorAll('sv-player')].map((each) => each.playing).join() == 'false,true,false'")
    page.click("text=Compare blind")
    assert names(page) == ["A", "B", "C"]
    assert page.locator("text=seed").count() == page.locator("text=seed >> visible=false").count() + 2  # the form's
    page.click("text=Reveal")
    assert sorted(name[3:] for name in names(page)) == [f"fugue, take {number}" for number in (1, 2, 3)]
    page.click("text=Back to the list")
    assert names(page) == ["Take 1", "Take 2", "Take 3"]
    page.click("[aria-label='Keep take 2']")
    page.wait_for_selector("[aria-label='Keep take 2'][aria-pressed=true]")
    [job] = pages.queue.latest("", 10)
    assert job.kept == 1
    with page.expect_download() as download:
        page.click("article:has(h3:text('Take 2')) >> text=WAV")
    assert download.value.suggested_filename.endswith("-1.wav")
    assert download.value.path().read_bytes()[:4] == b"RIFF"


def test_a_part_is_repaired_compared_and_undone(page, pages, audio):
    page.goto("/edit")
    page.set_input_files("#f-file", {"name": "song.wav", "mimeType": "audio/wav", "buffer": audio})
    page.wait_for_selector("#preview sv-player[data-ready]")
    assert page.is_disabled(".selection >> text=Repair")  # nothing is chosen
    picture = page.locator("#preview .picture").bounding_box()
    left, top, width = picture["x"], picture["y"] + 50, picture["width"]
    page.mouse.move(left + 0.4 * width, top)
    page.mouse.down()
    page.mouse.move(left + 0.6 * width, top, steps=4)
    page.mouse.up()
    page.click(".selection >> text=Play it")
    position = "document.querySelector('#preview sv-player').surfer.getCurrentTime()"
    until(page, f"{position} > 0.25")
    until(page, f"{position} < 0.25")  # from the start of the part again
    assert page.evaluate(position) > 0.1
    page.click("[aria-label='Pause song.wav']")
    page.click(".selection >> text=Repair")
    start, end = map(float, page.input_value("input[name=repair]").split(":"))
    assert start == pytest.approx(0.2, abs=0.01)
    assert end == pytest.approx(0.3, abs=0.01)
    page.click("text=Apply")
    page.wait_for_selector("[data-ab][data-matched]")  # the original is only here: the studio has deleted it
    [job] = pages.queue.latest("", 10)
    assert job.parameters == {"repair": [f"{start:g}:{end:g}"]}
    page.click("text=Undo")
    page.wait_for_selector("#preview sv-player[data-ready]")
    page.fill("#f-fade_in", "0.1")
    page.click("text=Apply")
    page.wait_for_selector("[data-ab][data-matched]")
    assert pages.queue.latest("", 1)[0].parameters == {"fade_in": 0.1}
    page.fill("#f-gain", "-3")
    page.click("text=Apply")
    page.wait_for_selector(".chain li:nth-child(2) a[aria-current]")
    page.wait_for_selector("[data-ab][data-matched]")
    assert "same loudness" in page.inner_text("[data-ab-said]")
    page.locator("body").press("b")
    assert page.inner_text("[data-switch]").startswith("Hear after")
    assert page.locator("[data-before].current").count() == 1
    page.click("text=Undo")
    page.wait_for_selector(".chain li:first-child a[aria-current]")
    assert page.locator(".chain li").count() == 2


def test_real_files_are_recognised_and_the_table_is_downloaded(page, pages, music):
    real = Work(Limits(), Warm())
    pages.engine.work = lambda job, folder: real.carry_out(job, folder, lambda _, __: None)
    page.goto("/recognise")
    page.set_input_files("[data-folder-input]", music)  # each file is sent by itself
    page.wait_for_selector("#rows[data-open='0'] tbody tr:nth-child(6)")
    assert page.locator("tbody .strip").count() == 6
    with page.expect_download() as download:
        page.click("text=Download as CSV")
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert {row["file"] for row in rows} == {each.name for each in music.rglob("*.*")}
    assert all(0.99 < sum(float(row[style]) for style in ("fugue", "reel", "tango")) < 1.01 for row in rows)
    page.set_input_files("#f-file", [{"name": "words.wav", "mimeType": "audio/wav", "buffer": b"words"}])
    page.click("button.main")
    page.wait_for_selector("tr[data-state=failed] .bad")


def test_a_job_is_followed_and_cancelled(page, pages):
    pages.engine.work = None
    page.goto("/create")
    with page.expect_request("**/create/styles?*model=isles-maker*"):
        page.dispatch_event("#f-model", "change")
    page.click("text=Make music")
    page.click(".job.queued >> text=Cancel")
    page.wait_for_selector(".job.cancelled >> text=Cancelled.")
    assert "cancelled" in page.inner_text("#announcer")
    assert pages.queue.latest("", 1)[0].state == "cancelled"
    page.click("text=Make music")
    page.wait_for_selector(".job.queued")
    pages.engine.work = worked
    pages.engine.wake()
    page.wait_for_selector(".job.done sv-player")  # found by asking again


def test_errors_appear_beside_the_form_and_go(page):
    page.goto("/edit")
    page.set_input_files("#f-file", {"name": "song.wav", "mimeType": "audio/wav", "buffer": b"words"})
    page.click("text=Apply")
    page.wait_for_selector("#problem >> text=Nothing to do.")
    page.fill("#f-gain", "-3")
    page.click("text=Apply")
    page.wait_for_selector("[data-ab]")
    assert page.inner_text("#problem") == ""


def violations(page, *rules):
    """What axe-core finds: all of its rules, or some."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    options = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": rules}} if rules else {})
    found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
    return [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]


def test_a_screen_reader_misses_nothing_and_a_phone_shows_all(page, pages, audio):
    create(page, 2)
    piece = f"{pages.queue.latest('', 1)[0].id}/0"
    for path in ("/origin", "/recognise"):
        page.goto(path)
        page.set_input_files("#f-file", {"name": "song.wav", "mimeType": "audio/wav", "buffer": audio})
        page.click("button.main")
        page.wait_for_selector("[data-state=done]")
    job = pages.queue.latest("", 1)[0].id
    for path in (*PAGES, f"/edit?piece={piece}", f"/jobs/{job}", "/nothing"):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(path)
        assert violations(page) == [], path
        page.emulate_media(color_scheme="dark")
        assert violations(page, "color-contrast") == [], path
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path


def test_the_page_that_asks_for_a_token(browser, closed_studio, closed_address):
    page = browser.new_page(base_url=closed_address)
    page.goto("/create")
    assert violations(page) == []
    page.fill("#f-token", closed_studio.token())
    page.click("button.main")
    page.wait_for_url(f"{closed_address}/create")
    page.click("text=Log out")
    page.wait_for_url(f"{closed_address}/enter")
    page.close()
