"""The page for everyone: by keyboard alone, in a narrow window, in the dark, and as axe-core sees it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from clients.web.tests.conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 375, "height": 667}


async def test_the_keyboard_is_enough(page: Page) -> None:
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the list")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Organization")).to_be_focused()
    await page.keyboard.type("team-b")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Repositories 1 to 25 of 30.")
    for name in ("Repository", "Category", "Owner", "Per page"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_label(name)).to_be_focused()
    for name in ("List", "Stream all", "Previous", "Next"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name=name, exact=True)).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("status")).to_have_text("Repositories 26 to 30 of 30.")
    await expect(page.get_by_role("button", name="Next")).to_be_focused()  # though there is none
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Repositories 1 to 25 of 30.")


async def test_the_first_link_skips_the_filter(page: Page) -> None:
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Next")).to_be_focused()


async def test_a_narrow_window_shows_everything_without_scrolling_sideways(open_page: Open) -> None:
    page = await open_page(viewport=NARROW)
    row = page.get_by_role("row").nth(1)
    for cell in await row.get_by_role("cell").all():
        box = await cell.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= NARROW["width"]
        await expect(cell).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_scheme_is_the_one_that_the_person_has(open_page: Open, scheme: str) -> None:
    page = await open_page(color_scheme=scheme)
    color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    assert (red + green + blue > 3 * 128) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing(open_page: Open, scheme: str, viewport: dict[str, int]) -> None:
    page = await open_page(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    await expect(page.get_by_role("status")).to_have_text("Repositories 1 to 25 of 256.")
    assert await findings(page) == []
    await page.get_by_label("Repository").fill("a|b")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await findings(page) == []


async def findings(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it stands."""
    await page.evaluate(AXE.read_text())
    results = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in results["violations"]
        for node in rule["nodes"]
    ]


async def test_scripts_and_calls_are_the_pages_own(address: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        policy = response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.content_type == "text/html"
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
