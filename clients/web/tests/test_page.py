"""The page in a browser, used as a person uses it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, Page, expect

from clients.web.demo import serving
from clients.web.tests.conftest import Open
from clients.web.tests.upstreams import Dam
from gateway.simulator.app import Faults, make_app
from gateway.simulator.data import Repository, default_repositories

pytestmark = pytest.mark.asyncio(loop_scope="session")


def names(page: Page) -> Locator:
    return page.get_by_role("rowheader").locator(".title")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


async def says(page: Page, text: str) -> None:
    await expect(page.get_by_role("status")).to_have_text(text)


async def test_it_lists_the_first_page_at_once(page: Page) -> None:
    await expect(names(page)).to_have_count(25)
    row = page.get_by_role("row").nth(1)
    await expect(row.get_by_role("rowheader")).to_contain_text("root/nginx")
    await expect(row.get_by_role("cell")).to_have_text(["linux", "191.7 MiB", "2", re.compile(r"\d+"), "11 Sept 2017"])
    updated = row.locator("time")
    await expect(updated).to_have_attribute("datetime", "2017-09-11T03:00:02.542841141Z")


async def test_it_turns_pages_to_the_last_and_back(page: Page) -> None:
    await page.get_by_label("Per page").select_option("100")
    await button(page, "List").click()
    await says(page, "Repositories 1 to 100 of 256.")
    await expect(button(page, "Previous")).to_have_attribute("aria-disabled", "true")
    first = await names(page).first.text_content()
    await button(page, "Next").click()
    await says(page, "Repositories 101 to 200 of 256.")
    await expect(names(page).first).not_to_have_text(first or "")
    await button(page, "Next").click()
    await says(page, "Repositories 201 to 256 of 256.")
    await expect(names(page)).to_have_count(56)
    await expect(button(page, "Next")).to_have_attribute("aria-disabled", "true")
    await button(page, "Next").click(force=True)  # as a person may, and Playwright would not
    await button(page, "Previous").click()
    await says(page, "Repositories 101 to 200 of 256.")


async def test_it_turns_pages_that_the_upstream_caps(open_page: Open) -> None:
    async with serving(make_app(default_repositories(30), Faults(page_cap=10))) as url:
        page = await open_page(url)
        await says(page, "Repositories 1 to 10 of 30.")
        await button(page, "Next").click()
        await says(page, "Repositories 11 to 20 of 30.")
        await button(page, "Next").click()
        await says(page, "Repositories 21 to 30 of 30.")
        await expect(button(page, "Next")).to_have_attribute("aria-disabled", "true")


async def test_it_turns_pages_of_which_all_is_hidden(open_page: Open) -> None:
    async with serving(make_app(default_repositories(30), Faults(hide_every=1))) as url:
        page = await open_page(url)
        await says(page, "Nothing here: the list has 30 repositories.")
        await button(page, "Next").click()
        await expect(button(page, "Next")).to_have_attribute("aria-disabled", "true")
        await expect(button(page, "Previous")).to_have_attribute("aria-disabled", "false")


@pytest.mark.parametrize(
    ("field", "value", "row"),
    [
        ("Organization", "team-b", "^team-b/"),
        ("Repository", "etl/", "etl/"),
        ("Category", "database", "database"),
    ],
)
async def test_it_filters_by_each_field(page: Page, field: str, value: str, row: str) -> None:
    await page.get_by_label(field).fill(value)
    await page.get_by_label(field).press("Enter")
    await expect(page.get_by_role("status")).to_have_text(re.compile(r"^Repositories 1 to 25 of (?!256)"))
    await expect(names(page)).to_have_count(25)
    texts = await page.get_by_role("row").all_inner_texts()
    assert [text for text in texts[1:] if not re.search(row, text)] == []


async def test_it_lists_what_others_share(page: Page) -> None:
    await page.get_by_label("Owner").select_option("Shared with me")
    await button(page, "List").click()
    await says(page, "Repositories 1 to 25 of 25.")
    await expect(names(page).last).to_have_text(re.compile("^partner/"))


async def test_it_says_that_nothing_matches(page: Page) -> None:
    await page.get_by_label("Organization").fill("nobody")
    await button(page, "List").click()
    await says(page, "No repository matches.")
    await expect(names(page)).to_have_count(0)


async def test_it_says_what_is_wrong_with_a_filter_beside_its_fields(page: Page) -> None:
    organization, repository = page.get_by_label("Organization"), page.get_by_label("Repository")
    await organization.fill("a::b")
    await repository.fill("x|y'")
    await button(page, "List").click()
    await expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"^This filter cannot be used.*Correct what is marked above.*INVALID_REQUEST, request \S+$")
    )
    await expect(organization).to_be_focused()
    await expect(organization).to_have_attribute("aria-invalid", "true")
    await expect(organization).to_have_accessible_description(
        "The whole name Must not hold ::, which separates the upstream's keys and values."
    )
    await expect(repository).to_have_accessible_description(
        "Any part of the name Must not hold |, which separates the upstream's clauses. Must not hold a quote."
    )
    await expect(page.get_by_label("Category")).not_to_have_attribute("aria-invalid", "true")
    await says(page, "Nothing is listed.")

    await organization.fill("team-a")
    await repository.fill("")
    await repository.press("Enter")
    await says(page, "Repositories 1 to 25 of 36.")
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(organization).to_have_accessible_description("The whole name")
    await expect(page.locator("[aria-invalid]")).to_have_count(0)


async def test_it_says_that_the_service_is_not_available(open_page: Open) -> None:
    async with serving(make_app(default_repositories(), Faults(error_status=503))) as url:
        page = await open_page(url)
        words = r"^The service is not available at the moment.*Try again in \d+ seconds?\..*UPSTREAM_UNAVAILABLE"
        await expect(page.get_by_role("alert")).to_have_text(re.compile(words))
        await says(page, "Nothing is listed.")


async def test_it_says_that_nobody_is_there(page: Page) -> None:
    await page.context.set_offline(True)
    await button(page, "Next").click()
    await expect(page.get_by_role("alert")).to_have_text(
        re.compile("^The service cannot be reached.*Try again in a moment.$")
    )
    await says(page, "Repositories 1 to 25 of 256.")
    await page.context.set_offline(False)
    await button(page, "Next").click()
    await says(page, "Repositories 26 to 50 of 256.")
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_it_streams_all(page: Page) -> None:
    await button(page, "Stream all").click()
    await says(page, "All 256 repositories.")
    await expect(names(page)).to_have_count(256)
    await expect(button(page, "Next")).to_be_hidden()
    await button(page, "List").click()
    await says(page, "Repositories 1 to 25 of 256.")
    await expect(names(page)).to_have_count(25)


async def test_a_long_stream_shows_its_first_rows_and_says_so(open_page: Open) -> None:
    async with serving(make_app(default_repositories(2500))) as url:
        page = await open_page(url)
        await button(page, "Stream all").click()
        await says(page, "All 2,500 repositories. The first 2,000 are shown: filter to see others.")
        await expect(names(page)).to_have_count(2000)
        await button(page, "List").click()
        await says(page, "Repositories 1 to 25 of 2,500.")


@pytest.mark.parametrize("broken", [False, True], ids=["stopped", "broken"])
async def test_a_stream_goes_on_where_it_ended(open_page: Open, *, broken: bool) -> None:
    dam = Dam(100)
    async with serving(dam.app) as url:
        page = await open_page(url)
        await button(page, "Stream all").click()
        await expect(names(page)).to_have_count(100)
        await expect(page.get_by_role("progressbar")).to_have_attribute("value", "100")
        if broken:
            dam.fail()
        else:
            await button(page, "Stop").click()
        await says(page, "100 of 256 repositories.")
        await expect(page.get_by_text("Something went wrong")).to_have_count(int(broken))
        dam.open()
        await button(page, "Continue").click()
        await says(page, "All 256 repositories.")
        await expect(page.get_by_role("alert")).to_be_hidden()
        assert len(set(await names(page).all_text_contents())) == 256
        await expect(button(page, "Stream all")).to_be_focused()


async def test_who_asks_for_something_else_gets_that(open_page: Open) -> None:
    dam = Dam(25)
    async with serving(dam.app) as url:
        page = await open_page(url)
        await button(page, "Next").click()
        await page.get_by_label("Organization").fill("group")
        await button(page, "List").click()
        await says(page, "Repositories 1 to 4 of 4.")
        dam.open()
        await expect(names(page)).to_have_count(4)


async def test_a_stream_may_be_asked_for_again_before_its_end(open_page: Open) -> None:
    dam = Dam(100)
    async with serving(dam.app) as url:
        page = await open_page(url)
        await button(page, "Stream all").click()
        await expect(names(page)).to_have_count(100)
        await button(page, "Stream all").click()
        await expect(names(page)).to_have_count(100)
        await expect(button(page, "Stop")).to_be_visible()
        dam.open()
        await says(page, "All 256 repositories.")
        await expect(names(page)).to_have_count(256)


async def test_what_the_upstream_sends_is_text_and_exact(open_page: Open) -> None:
    record = {
        "name": "<img src=x onerror=alert(1)>",
        "namespace": "a",
        "description": "<b>bold</b>\nand a second line",
        "size": 2**63 - 1,
        "updated_at": "2026-03-26T23:59:59.000000001Z",
    }
    async with serving(make_app([Repository(record)])) as url:
        page = await open_page(url)
        await says(page, "Repositories 1 to 1 of 1.")
        row = page.get_by_role("row").nth(1)
        await expect(row.get_by_role("rowheader")).to_contain_text("a/<img src=x onerror=alert(1)>")
        await expect(row.get_by_text("<b>bold</b>")).to_be_visible()
        await expect(row.get_by_title("9,223,372,036,854,775,807 bytes")).to_have_text("8.0 EiB")
        await expect(row.locator("time")).to_have_attribute("datetime", "2026-03-26T23:59:59.000000001Z")
