"""The page for people in a real browser, Chromium without a window: it is seen only where one is installed.

`apt-get install chromium`; SCREENSHOTS names a folder for what it looks like.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from conftest import OPERATED, Serve, Served
from patience import until
from scripted_upstream import ScriptedUpstream, answer, page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (320, 400, 1280)
SCHEMES = ("light", "dark")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium")

# The least contrast of each visible text with what is behind it, and the text (WCAG 2, 1.4.3 wants 4.5).
LEAST_CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = color.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let least = [99, ""];
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || !parent.checkVisibility() || parent.tagName === "METER") continue;
    const [one, other] = [light(rgba(getComputedStyle(parent).color)), light(behind(parent))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < least[0]) least = [contrast, node.textContent];
  }
  return least;
})()"""


@dataclass
class Tab:
    """A tab of the browser, spoken to over its own protocol.

    Attributes:
        complaints: What it said of the page: refused styles, broken scripts.
    """

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def do(self, method: str, /, until_event: str = "", **params: Any) -> dict[str, Any]:
        """Give an order; return its answer, once an event has come too if one is named."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        result: dict[str, Any] | None = None
        while result is None or until_event:
            message = await self.socket.receive_json()
            if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(message["params"]))
            if message.get("method") == until_event:
                until_event = ""
            if message.get("id") == number:
                assert "error" not in message, message
                result = message["result"]
        return result

    async def shows(self, url: str, width: int, scheme: str) -> None:
        """Show a page, and wait until it is loaded."""
        size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.do("Emulation.setDeviceMetricsOverride", **size)
        await self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.do("Page.navigate", until_event="Page.loadEventFired", url=url)

    async def value(self, expression: str) -> Any:
        """Return what an expression is in the page."""
        answered = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answered, answered
        return answered["result"]["value"]

    async def draws(self, name: str) -> bytes:
        """Return a picture of the whole page, and keep it where somebody wants to look at it."""
        taken = await self.do("Page.captureScreenshot", captureBeyondViewport=True)
        picture = base64.b64decode(taken["data"])
        if folder := os.environ.get("SCREENSHOTS"):
            (Path(folder) / f"{name}.png").write_bytes(picture)
        return picture


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Tab]:
    """Start a browser for the time of a `with` block."""
    assert BROWSER is not None
    flags = ("--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        BROWSER,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        await until(lambda: told.exists() and told.read_text().count("\n") >= 1)
        port = told.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as response:
                target = await response.json(content_type=None)
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await tab.do(f"{domain}.enable")
                yield tab
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with browsing(tmp_path / "profile") as tab:
        yield tab


@pytest.fixture
async def served(serve: Serve, upstream: ScriptedUpstream) -> Served:
    """A gateway that has something to tell."""
    long = "spiffe://corp.example/ns/a-namespace-with-a-long-name/sa/and-a-service-account-with-a-longer-one"
    served = await partial(serve, **OPERATED)(
        auth="token", token="canary-4711", cache_ttl="1m", project_id=long, circuit_min_requests=3
    )
    upstream.play(page("[]"), answer(404), answer(500))
    for _ in range(3):
        await served.list("one")
    for name in ("two", "three", "four", "five", "six"):
        await served.fail(name)
    return served


async def test_the_page_is_read_without_a_complaint_at_any_width_by_day_and_by_night(tab: Tab, served: Served) -> None:
    url = f"http://{served.gateway.admin_address}/"
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        await tab.shows(url, width, scheme)
        assert await tab.value("document.title") == "swr-gateway: ready"
        assert await tab.value("document.documentElement.scrollWidth") <= width
        assert await tab.value("getComputedStyle(document.body).maxWidth") == "992px"  # the style is not refused
        assert (await tab.draws(f"status-{width}-{scheme}")).startswith(b"\x89PNG")
        await tab.value("document.querySelector('details').open = true")
        assert await tab.value("document.documentElement.scrollWidth") <= width
        contrast, text = await tab.value(LEAST_CONTRAST)
        assert contrast >= 4.5, (scheme, text)
    assert tab.complaints == []


async def test_the_colours_are_those_that_were_asked_for(tab: Tab, served: Served) -> None:
    grounds = {}
    for scheme in SCHEMES:
        await tab.shows(f"http://{served.gateway.admin_address}/", 400, scheme)
        grounds[scheme] = await tab.value("getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]


async def test_nothing_that_gets_into_the_page_would_run(tab: Tab, served: Served) -> None:
    await tab.shows(f"http://{served.gateway.admin_address}/", 400, "light")
    ran = "(() => {const s = document.createElement('script'); s.textContent = 'window.ran = 1'; "
    ran += "document.body.append(s); return window.ran || 0})()"
    assert await tab.value(ran) == 0
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
