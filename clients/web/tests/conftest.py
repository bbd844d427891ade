"""What tests of the page share: a browser, the page as `make demo-web` serves it, and what the browser complains of."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from clients.web.demo import serving
from gateway.simulator.app import make_app
from gateway.simulator.data import default_repositories

# Milliseconds. No test is about them: they are the net under all that waits.
PATIENCE = 300_000

# What the browser says of itself where a test has taken it off the network.
OFFLINE = "net::ERR_INTERNET_DISCONNECTED"

Open = Callable[..., Awaitable[Page]]

expect.set_options(timeout=PATIENCE)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.fail("there is no Chromium: apt-get install chromium, or put one on the PATH")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found[0])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address() -> AsyncIterator[str]:
    async with serving(make_app(default_repositories())) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, address: str) -> AsyncIterator[Open]:
    """Open the page in a window with these options; at the end the browser has complained of nothing."""
    complaints: list[str] = []
    contexts = []

    async def open_page(url: str = address, **options: Any) -> Page:
        context = await browser.new_context(locale="en-GB", timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: complaints.extend(text for text in [message.text] if OFFLINE not in text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend([request.url] * (not request.url.startswith(url))))
        await page.goto(url)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: Open) -> Page:
    """The page in a window of the usual size, with its first list."""
    page = await open_page()
    await expect(page.get_by_role("status")).to_have_text("Repositories 1 to 25 of 256.")
    return page
