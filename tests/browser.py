"""A real Chromium, that reaches a service under a name of its own and nothing else."""

import contextlib
import shutil
from pathlib import Path

from playwright.async_api import async_playwright

from tests.waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOST = "notifier.internal.example"  # not localhost, which browsers treat as they treat no other
ARGUMENTS = [
    "--no-sandbox",  # tests may run as root; what they open is their own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
]
AXE = Path(__file__).parent / "vendor/axe-core-4.14.1/axe.min.js"
LIMIT = 30_000.0  # milliseconds that a test waits for what must happen


@contextlib.asynccontextmanager
async def chromium():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """One person's window: what it asked for, and what went wrong in it."""

    def __init__(self, page, url):
        self.page = page
        self.url = url
        self.asked, self.barred, self.wrong = [], set(), []
        page.set_default_timeout(LIMIT)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", self._failed)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))

    async def go(self, path):
        await self.page.goto(self.url + path)
        return self.page

    @property
    def elsewhere(self):
        """Requests that went to another host: all but those that the page's policy has barred."""
        own = ("data:", "blob:", f"{self.url}/")
        return [url for url in self.asked if not url.startswith(own) and url not in self.barred]

    def _failed(self, request):
        if request.failure == "csp":
            self.barred.add(request.url)

    async def faults(self):
        """What axe finds against it, in a few words each."""
        # The page's policy bars a script of ours as it bars anybody's: the debugger may.
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Runtime.evaluate", {"expression": AXE.read_text()})
        found = await self.page.evaluate("() => axe.run()")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]


@contextlib.asynccontextmanager
async def visiting(browser, port, **options):
    """A window of its own on the service at this port; nothing may have gone wrong in it."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    visit = Visit(await context.new_page(), f"http://{HOST}:{port}")
    yield visit
    await until(lambda: visit.elsewhere == [])  # that a request was barred is told after it
    assert visit.wrong == []
    await context.close()
