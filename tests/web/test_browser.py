"""The pages in a real browser: seen, used and attacked."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
import pytest_asyncio

from tests.applications import add_callback
from tests.browser import CHROMIUM, HOST, chromium, visiting
from tests.process import Server, message
from tests.provider import Site
from tests.waiting import until

if CHROMIUM is None:
    print("tests/web/test_browser.py is skipped: there is no chromium", file=sys.stderr)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
    pytest.mark.asyncio(loop_scope="module"),
]

ROWS = "#messages tr[data-id]"
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
EVIL = (
    """
<script>parent.document.title = "owned"; fetch("http://evil.example/script")</script>
<img src="http://evil.example/pixel.gif" onerror="fetch('http://evil.example/error')">
<link rel="stylesheet" href="http://evil.example/style.css">
<style>@import url("http://evil.example/import.css");
body { background: url(http://evil.example/b) }</style>
<meta http-equiv="refresh" content="0; url=http://evil.example/refresh">
<base href="http://evil.example/">
<form action="http://evil.example/form" id="f"><input name="a"><button>Go</button></form>
<iframe src="http://evil.example/frame"></iframe><object data="http://evil.example/object"></object>
<svg onload="fetch('http://evil.example/svg')"></svg>
"""
    + f"<table width=99999>{'<tr>' + '<td>wide</td>' * 200 + '</tr>'}</table>" * 20
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


def reached(folder, **settings):
    """A server without keys that the browser may call by its name."""
    return Server(folder, allowed_hosts=HOST, **settings)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory):
    async with reached(tmp_path_factory.mktemp("browser"), retry_schedule="1h") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser, server):
    async with visiting(browser, server.port) as visit:
        yield visit


async def send(server, number, **changes):
    async with httpx2.AsyncClient(trust_env=False, timeout=30, base_url=server.url) as client:
        answer = await client.post("/v1/messages", json=message(number, **changes))
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


async def suppress(server, address, **given):
    async with httpx2.AsyncClient(trust_env=False, timeout=30, base_url=server.url) as client:
        answer = await client.post("/v1/suppressions", json={"address": address} | given)
        assert answer.status_code == 200, answer.text


def row(page, subject):
    return page.locator(ROWS).filter(has_text=subject)


async def status(page, subject, expected):
    await row(page, subject).locator(f".status.{expected}").wait_for()


async def agree(page, says):
    """The question that stands there tells how many, and is answered with its own button."""
    dialog = page.locator("dialog")
    await dialog.wait_for()
    assert says in await dialog.inner_text()
    await dialog.locator("button[value=yes]").click()
    await dialog.wait_for(state="detached")


async def test_sent_by_the_docs_and_seen_to_arrive(browser, server, visit):
    """`Try it out` works; monitor and inbox show it without being loaded again."""
    async with visiting(browser, server.port) as other, visiting(browser, server.port) as third:
        monitor, inbox = await other.go("/monitor"), await third.go("/inbox")
        await monitor.get_by_text("live", exact=True).wait_for()
        await inbox.get_by_text("live", exact=True).wait_for()
        docs = await visit.go("/docs")
        await docs.locator("#operations-messages-sendMessage .opblock-summary-control").click()
        await docs.locator("#operations-messages-sendMessage textarea").fill(
            json.dumps(message(0, subject="By hand"))
        )
        await docs.locator("#operations-messages-sendMessage .execute").click()
        code = docs.locator("#operations-messages-sendMessage .live-responses-table .response")
        assert "202" in await code.first.inner_text()
        await status(monitor, "By hand", "sent")
        await inbox.locator("[data-mail]").filter(has_text="By hand").click()
        await inbox.locator("#mail h2").filter(has_text="By hand").wait_for()


async def test_the_list_is_filtered_and_the_url_says_how(server, visit):
    """By words, and by status; the way back works, and the URL alone is enough."""
    await send(server, 1, subject="Needle in a stack", reference="ref-1")
    await send(server, 2, subject="Hay")
    page = await visit.go("/monitor")
    await row(page, "Hay").first.wait_for()
    await page.locator("[name=q]").fill("needle")
    await page.keyboard.press("Enter")
    await row(page, "Hay").first.wait_for(state="detached")
    await row(page, "Needle").wait_for()
    assert "q=needle" in page.url
    await page.locator("[data-status=failed]").click()
    await page.get_by_text("No message matches.").wait_for()
    assert "status=failed" in page.url
    await page.go_back()
    await row(page, "Needle").wait_for()
    await page.go_back()
    await row(page, "Hay").first.wait_for()
    await visit.go("/monitor?q=ref-1")
    await row(page, "Needle").wait_for()
    assert await page.locator(ROWS).count() == 1


async def test_a_failed_one_is_retried(server, visit):
    """On its own page: why it failed, what was said, and again."""
    id = await send(server, 3, to=["perm-fail@simulator.notifier"], subject="Refused")
    page = await visit.go(f"/monitor/messages/{id}")
    await page.locator("#status .status.failed").wait_for()
    assert "550" in await page.locator(".timeline").inner_text()
    await page.get_by_role("tab", name="Conversation").click()
    await page.get_by_text("C: MAIL FROM").wait_for()
    await page.get_by_role("button", name="Retry").click()
    await agree(page, "Retry 1 message?")
    await page.get_by_role("tab", name="Timeline").click()
    await page.locator(".timeline").get_by_text("retried").wait_for()
    await page.locator(".timeline li.failure").nth(1).wait_for()


async def test_some_are_cancelled_and_then_all_that_match(server, visit):
    """Those selected, and those on no page as well; each question says how many."""
    for number in range(3):
        await send(server, number, subject=f"Later {number}", send_at=TOMORROW)
    page = await visit.go("/monitor?q=later")
    await status(page, "Later 2", "scheduled")
    await page.get_by_label("Select Later 0").check()
    await page.locator("#bulk-actions [data-action=cancel]").click()
    await agree(page, "Cancel 1 message?")
    await status(page, "Later 0", "cancelled")
    await page.get_by_label("Select Later 0").uncheck()
    await page.get_by_role("button", name="Cancel all that match").click()
    await agree(page, "Cancel 2 messages?")
    await status(page, "Later 1", "cancelled")
    await status(page, "Later 2", "cancelled")
    await page.get_by_role("button", name="Cancel all that match").click()
    await page.get_by_text("None of the messages that match").wait_for()


async def test_one_is_settled_and_sent_to_another_address(server, visit):
    """The question asks what became of it; the copy is a message of its own that names it."""
    lost = {"to": ["drop-after-dot@simulator.notifier"], "on_uncertain": "hold"}
    id = await send(server, 13, subject="Unknown", **lost)
    page = await visit.go(f"/monitor/messages/{id}")
    await page.get_by_role("button", name="Settle").click()
    await page.get_by_label("It was sent").check()
    await page.get_by_label("How do you know?").fill("she has it")
    assert await visit.faults() == []
    await agree(page, "Settle 1 message?")
    await page.locator("#status .status.sent").wait_for()
    await page.locator(".timeline").get_by_text("as sent: she has it").wait_for()
    await page.get_by_role("button", name="Settle").wait_for(state="detached")
    await page.get_by_role("button", name="Send to another address").click()
    await page.locator("dialog input").fill("right@example.org")
    await agree(page, "Send to another address?")
    await page.get_by_role("link", name="Show it").click()
    await page.get_by_text("right@example.org").first.wait_for()
    await page.locator("#facts").get_by_role("link", name=id).wait_for()
    await visit.go("/monitor?q=unknown")
    await row(page, "copy").wait_for()


async def test_suppressions_are_added_found_and_taken_off(server, visit, tmp_path):
    """One by one, by a file, and all that match; a wrong line is told; the list can be saved."""
    page = await visit.go("/suppressions")
    await page.get_by_label("Address, @domain").fill("Ann@gone.example")
    await page.get_by_label("Until the end of").fill("2100-01-31")
    await page.get_by_role("button", name="Add", exact=True).click()
    added = page.locator("[data-address='ann@gone.example']")
    await added.wait_for()
    assert "2100-" in await added.locator("time").last.get_attribute("datetime")
    file = tmp_path / "list.csv"
    given = ("bob@gone.example\nnobody\n", "line 2: "), ("bob@gone.example\n", "imported.")
    for content, told in given:
        file.write_text(content)
        await page.get_by_label("Import a CSV file").set_input_files(file)
        await page.get_by_role("button", name="Import", exact=True).click()
        await page.locator("#toast").get_by_text(told).wait_for()
    await page.get_by_label("Domain", exact=True).fill("gone.example")
    await page.get_by_role("button", name="Search").click()
    await page.wait_for_url(re.compile("domain=gone.example"))
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="Export as CSV").click()
    lines = (await (await saved.value).path()).read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "ann@gone.example",
        "bob@gone.example",
    ]
    await page.get_by_role("button", name="Remove ann@gone.example").click()
    await agree(page, "Remove ann@gone.example?")
    await added.wait_for(state="detached")
    await page.get_by_role("button", name="Remove all that match").click()
    await agree(page, "domain: gone.example")
    await page.get_by_text("No suppression matches.").wait_for()


async def test_the_audit_page_shows_who_did_what(server, visit):
    """In plain words; filtered by what is clicked or chosen; the URL has the filters."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        for verb in ("pause", "resume"):
            assert (await client.post(f"/v1/relays/capture/{verb}")).status_code == 200
    page = await visit.go("/audit")
    row = page.locator("#records tr").filter(has_text="resumed sending to a relay").first
    await row.get_by_text("capture").first.wait_for()
    await page.get_by_label("What").select_option("pause-relay")
    await page.get_by_role("button", name="Search").click()
    await page.wait_for_url(re.compile("what=pause-relay"))
    await page.locator("#records").get_by_text("stopped sending to a relay").first.wait_for()
    await page.locator("#records").get_by_text("resumed sending").wait_for(state="detached")
    assert (await page.locator("#export").get_attribute("href")).endswith("?what=pause-relay")
    await page.get_by_label("Who").fill("nobody")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_text("Nothing matches.").wait_for()
    await page.get_by_role("button", name="Clear all filters").click()
    await page.get_by_role("link", name="anonymous").first.click()
    await page.wait_for_url(re.compile("by=anonymous"))


async def test_the_queue_is_paused_and_resumed(server, visit):
    """The page says that nothing is sent meanwhile. Refusing the question changes nothing."""
    page = await visit.go("/monitor")
    await page.get_by_role("button", name="Pause queue").click()
    await page.get_by_role("dialog").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Pause queue").click()
    await agree(page, "wait now.")
    await page.locator("#trouble").get_by_text("The queue is paused").wait_for()
    await send(server, 5, subject="Patient")
    await status(page, "Patient", "queued")
    await page.get_by_role("button", name="Resume queue").click()
    await agree(page, "message")
    await status(page, "Patient", "sent")
    await page.get_by_role("button", name="Pause capture").click()
    await agree(page, "through it")
    await page.get_by_role("button", name="Resume capture").click()
    await agree(page, "are sent at once")


async def test_figures_outlive_a_restart(browser, tmp_path):
    """The text of the chart includes what was sent before."""
    async with reached(tmp_path) as server, visiting(browser, server.port) as visit:
        await send(server, 1)
        page = await visit.go("/monitor")
        await page.locator("#chart-flow[aria-label^='1 sent']").wait_for()
        assert await server.stop() == 0
        await page.get_by_text("not connected").or_(page.get_by_text("stopping")).first.wait_for()
        await server.start()
        await page.get_by_text("live", exact=True).wait_for()
        await page.locator("#chart-flow[aria-label^='1 sent']").wait_for()


@pytest.mark.parametrize("kind", ["inbox", "monitor"])
async def test_hostile_mail_harms_no_page(server, visit, kind):
    """No script of it runs, nothing is loaded, no form is sent; and the page keeps its shape."""
    id = await send(server, 6, subject="<script>document.title='owned'</script>", html=EVIL)
    if kind == "inbox":
        page = await visit.go("/inbox")
        await page.locator("[data-mail]").filter(has_text="document.title=").first.click()
    else:
        page = await visit.go(f"/monitor/messages/{id}")
        await page.get_by_role("tab", name="Preview").click()
    frame = page.frame_locator("iframe.untrusted")
    await frame.locator("td").first.wait_for()
    await frame.locator("#f button").click()
    assert "owned" not in await page.title() or kind == "monitor"  # there it is a subject, as text
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert await page.locator("main script").count() == 0
    await until(lambda: "http://evil.example/pixel.gif" in visit.barred)
    await until(lambda: visit.elsewhere == [])
    await page.get_by_role("tab", name="Source").click()
    await page.locator("pre.text").wait_for()


async def test_ten_thousand_are_a_page_at_a_time(browser, tmp_path):
    """The list holds fifty, and leads on by cursor; the way back too."""
    async with reached(tmp_path) as server, visiting(browser, server.port) as visit:
        async with httpx2.AsyncClient(trust_env=False, timeout=30, base_url=server.url) as client:
            await client.post("/v1/queue/pause")
            for start in range(0, 10_000, 1000):
                many = [message(number) for number in range(start, start + 1000)]
                answer = await client.post("/v1/messages/batch", json=many, timeout=60)
                assert answer.status_code == 202
        page = await visit.go("/monitor")
        await row(page, "Message 9999").wait_for()
        await page.locator("#older").click()
        await row(page, "Message 9949").wait_for()
        assert await page.locator(ROWS).count() == 50
        await page.locator("#back").click()
        await row(page, "Message 9999").wait_for()
        await page.get_by_role("button", name="Cancel all that match").click()
        await agree(page, "10,000 messages")
        await status(page, "Message 9999", "cancelled")


@pytest_asyncio.fixture(loop_scope="module")
async def locked(tmp_path):
    """A service with keys: one that may look, and one that may act."""
    file = tmp_path / "keys.toml"
    server = Server(tmp_path, api_keys=file)
    keys = {scope: await made(server, scope) for scope in ("send", "read", "manage")}
    async with server:
        yield server, keys


async def made(server, scope):
    command = ["-m", "notifier", "keys", "add", scope, "--scope", scope]
    return await server.run(*command)


async def sign_in(visit, key):
    await visit.page.get_by_label("API key").fill(key)
    await visit.page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("asked", ["/.//evil.example/x", "//evil.example/x", "/%5Cevil.example"])
async def test_the_sign_in_leads_to_no_other_site(browser, locked, asked):
    """Wherever the address says to go on to: the page that opens is one of ours."""
    server, keys = locked
    async with visiting(browser, server.port) as visit:
        page = await visit.go(f"/sign-in?next={asked}")
        await sign_in(visit, keys["read"])
        await page.wait_for_url(lambda url: "/sign-in" not in url)
        assert page.url.startswith(f"{visit.url}/")


async def test_a_key_opens_the_monitor_as_far_as_it_may(browser, locked):
    """None: the sign-in. `read`: to look at. `manage`: to act. After signing out: nothing."""
    server, keys = locked
    async with visiting(browser, server.port) as visit:
        page = await visit.go("/monitor?status=sent")
        await sign_in(visit, "ntf_000000000000_wrong")
        await page.get_by_text("this service has no such key").wait_for()
        await page.context.set_offline(True)
        await sign_in(visit, keys["read"])
        await page.get_by_text("the service does not answer").wait_for()
        await page.context.set_offline(False)
        await sign_in(visit, keys["read"])
        await page.wait_for_url(re.compile(r"/monitor\?status=sent$"))
        await page.get_by_text("live", exact=True).wait_for()
        await page.get_by_text("No message matches.").wait_for()
        assert await page.get_by_role("button", name="Pause").count() == 0
        assert "notifier_session" not in await page.evaluate("document.cookie")
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        refused = await page.evaluate(
            "fetch('/v1/queue/pause', {method: 'POST'}).then(a => a.status)"
        )
        assert refused == 403
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url(re.compile(r"/$"))
        await visit.go("/inbox")
        assert "/sign-in" in page.url
        await sign_in(visit, keys["manage"])
        await page.wait_for_url(re.compile(r"/inbox$"))
        await visit.go("/monitor")
        await page.get_by_role("button", name="Pause queue").click()
        await agree(page, "0 messages")
        await page.locator("#trouble").get_by_text("The queue is paused").wait_for()


async def _has_callbacks(client, headers):
    return (await client.get("/v1/callbacks", headers=headers)).json()["items"]


async def test_callbacks_are_seen_tested_and_resumed(browser, locked):
    """The application's last answers are there; a test shows what it says, a resume sends."""
    server, keys = locked
    async with Site((410, b"no more"), (200, b"hello")) as site:
        add_callback(server.folder, "send", f"http://127.0.0.1:{site.port}/hook")
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
            manage, headers = {"X-API-Key": keys["manage"]}, {"X-API-Key": keys["send"]}
            await until(lambda: _has_callbacks(client, manage))
            await client.post("/v1/messages", json=message(1), headers=headers)
        async with visiting(browser, server.port) as visit:
            page = await visit.go("/monitor")
            await sign_in(visit, keys["manage"])
            panel = page.get_by_role("region", name="Callbacks")
            await panel.get_by_text("paused").wait_for()
            await panel.get_by_text("410 no more, it wants no callbacks").wait_for()
            await panel.get_by_role("button", name="Test").click()
            await page.get_by_text("send was sent a test: 200 hello").wait_for()
            await panel.get_by_role("button", name="Resume").click()
            await agree(page, "What waits is sent now.")
            await panel.get_by_text("working").wait_for()
            await panel.get_by_role("button", name="Replay").click()
            await page.get_by_label("Since").fill("2020-01-01T00:00")
            await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
            await panel.get_by_text("200 hello").wait_for()
            await until(lambda: len(site.requests) >= 3)
    assert len(site.requests) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(browser, server, scheme):
    """On every page, in light and dark. Swagger's own markup is Swagger's."""
    id = await send(server, 7, subject="Seen", html="<p>Hello</p>", tags=["tag"])
    failed = await send(server, 8, subject="Lost", to=["perm-fail@simulator.notifier"])
    await suppress(server, "seen@example.org", until="2100-01-31T12:00:00Z", key="shop")
    async with visiting(browser, server.port, color_scheme=scheme) as visit:
        page = visit.page
        for path, there in (
            ("/", ".ok"),
            ("/sign-in", "h1"),
            ("/guide", ".chapters a"),
            ("/guide/settings", "table"),
            ("/monitor", ROWS),
            (f"/monitor/messages/{id}", ".timeline"),
            (f"/monitor/messages/{failed}", ".timeline li.failure"),
            ("/suppressions", "[data-address]"),
            ("/audit", "#records time"),
            ("/inbox", "[data-mail]"),
        ):
            await visit.go(path)
            await page.locator(there).first.wait_for()
            assert await visit.faults() == [], path
        await page.locator("[data-mail]").first.click()
        await page.locator("#mail h2").wait_for()
        assert await visit.faults() == []
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await visit.faults() == []
        await visit.go("/docs")
        await page.locator(".version-stamp pre").wait_for()
        assert [each for each in await visit.faults() if "small" in each or ".url" in each] == []
        await visit.go("/monitor")
        await page.get_by_role("button", name="Pause queue").click()
        assert await visit.faults() == []


async def test_the_keyboard_is_enough(server, visit):
    """Skip to the content, tabs by arrow keys, and a question that holds the focus."""
    id = await send(server, 9, send_at=TOMORROW)
    page = await visit.go(f"/monitor/messages/{id}")
    await page.locator(".timeline").wait_for()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.get_by_role("tab", name="Timeline").focus()
    for key, title in (("ArrowRight", "Conversation"), ("End", "Source"), ("Home", "Timeline")):
        await page.keyboard.press(key)
        await page.locator("[role=tab][aria-selected=true]").get_by_text(title).wait_for()
    await page.get_by_role("button", name="Cancel").focus()
    await page.keyboard.press("Enter")
    await page.locator("dialog").wait_for()
    assert await page.evaluate("document.activeElement.closest('dialog') !== null")
    await page.keyboard.press("Escape")
    await page.locator("dialog").wait_for(state="detached")
    await page.keyboard.press("Enter")  # the button has the focus again
    await page.locator("dialog").wait_for()
    await page.keyboard.press("Enter")  # of what cannot be undone the safe answer has the focus
    await page.locator("dialog").wait_for(state="detached")
    await page.locator("#status .status.scheduled").wait_for()


async def test_the_outcome_of_an_action_stays_until_it_is_dismissed(server, visit):
    """By a button that the keyboard reaches."""
    page = await visit.go("/monitor?q=nothing-has-these-words")
    await page.get_by_text("No message matches.").wait_for()
    await page.get_by_role("button", name="Retry all that match").click()
    toast = page.locator("#toast").get_by_text("None of the messages that match can be retried.")
    await toast.wait_for()
    await page.get_by_role("button", name="Dismiss").press("Enter")
    await toast.wait_for(state="detached")


@pytest.mark.parametrize("width", [1280, 390])
async def test_the_list_is_a_table_for_those_who_hear_it(server, visit, width):
    """With column headers and named rows, also where a phone shows cards."""
    await send(server, 11, subject=f"Heard {width}", tags=["tag"])
    page = await visit.go(f"/monitor?q=heard+{width}")
    await page.set_viewport_size({"width": width, "height": 900})
    await row(page, f"Heard {width}").wait_for()
    table = page.get_by_role("table", name="Messages")
    names = await table.get_by_role("columnheader").all_inner_texts()
    assert names == ["Select", "Status", "Subject", "To", "Reported", "Attempts", "Accepted"]
    found = table.get_by_role("row").filter(
        has=page.get_by_role("rowheader", name=f"Heard {width}")
    )
    assert await found.get_by_role("cell").count() == len(names) - 1
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert await visit.faults() == []


async def test_unchanged_news_is_not_repeated(server, visit):
    """A refresh of a message that is as it was changes nothing that a screen reader hears."""
    id = await send(server, 12, send_at=TOMORROW)
    page = await visit.go(f"/monitor/messages/{id}")
    await page.locator("#status .status.scheduled").wait_for()
    await page.get_by_text("live", exact=True).wait_for()
    await page.evaluate(
        """() => {
            window.changes = [];
            const look = new MutationObserver(found => window.changes.push(...found));
            look.observe(document.querySelector('#message'), {childList: true, subtree: true});
        }"""
    )
    await page.evaluate(HIDE, True)
    async with page.expect_response(re.compile(r"/explain$")):
        await page.evaluate(HIDE, False)  # the stream is taken up again, and begins with it
    await page.get_by_text("live", exact=True).wait_for()
    changed = await page.evaluate("window.changes.map(each => each.target.id || 'none')")
    assert set(changed) == {"live"}


async def test_a_page_that_stays_open_asks_one_thing_at_a_time(server, visit):
    """The figures come in one answer. The history of the charts is asked for once."""
    page = await visit.go("/monitor")
    await page.get_by_text("live", exact=True).wait_for()
    await page.locator("#chart-flow[aria-label*='in the last hour']").wait_for()
    visit.asked.clear()
    for _ in range(2):
        async with page.expect_response(re.compile(r"/v1/stats$")):
            pass
    assert {url.removeprefix(visit.url) for url in visit.asked} <= {"/v1/stats"}


async def test_a_hidden_page_lets_go(server, visit):
    """No stream is kept while nobody looks, and it is taken up again."""
    page = await visit.go("/monitor")
    await page.get_by_text("live", exact=True).wait_for()
    await page.evaluate(HIDE, True)
    await page.get_by_text("paused while hidden").wait_for()
    await page.evaluate(HIDE, False)
    await page.get_by_text("live", exact=True).wait_for()
