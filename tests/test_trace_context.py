"""W3C Trace Context: which headers count, and what is sent on of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.trace_context import NO_TRACE, read_trace_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param(PARENT, id="sampled"),
        pytest.param(PARENT[:-1] + "0", id="not sampled"),
        pytest.param(f"cc-{TRACE}-b7ad6b7169203331-01", id="a later version"),
        pytest.param(f"cc-{TRACE}-b7ad6b7169203331-01-what-comes", id="a later version with more to say"),
    ],
)
def test_a_parent_names_the_trace_and_is_sent_on(parent: str) -> None:
    assert read_trace_context({"traceparent": parent})[:2] == (TRACE, {"traceparent": parent})


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param("", id="nothing"),
        pytest.param(PARENT.upper(), id="capitals"),
        pytest.param(f"00-{'0' * 32}-b7ad6b7169203331-01", id="trace of zeros"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="parent of zeros"),
        pytest.param(f"ff-{TRACE}-b7ad6b7169203331-01", id="forbidden version"),
        pytest.param(f"{PARENT}-more", id="more than version 00 has to say"),
        pytest.param(f"cc-{TRACE}-b7ad6b7169203331-01.more", id="more without a dash"),
        pytest.param(f" {PARENT}", id="blank in front"),
        pytest.param(f"{PARENT}\n", id="end of line"),
        pytest.param(PARENT[:-1], id="too short"),
        pytest.param(f"00-{TRACE[:-1]}g-b7ad6b7169203331-01", id="no hexadecimal digit"),
        pytest.param("00-\u0660af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", id="no ASCII digit"),
    ],
)
def test_what_is_no_parent_counts_as_no_trace_and_is_not_sent_on(parent: str) -> None:
    assert read_trace_context({"traceparent": parent, "tracestate": "vendor=1"}) == NO_TRACE


@pytest.mark.parametrize("state", ["vendor=1", "a=1,b=2", "x" * 512])
def test_a_state_goes_with_its_parent(state: str) -> None:
    headers = {"traceparent": PARENT, "tracestate": state}
    assert read_trace_context(headers) == (TRACE, headers, True)


@pytest.mark.parametrize("state", ["", "a=1\r\nX-Auth-Token: stolen", "café=1", "a=\x7f", "x" * 513])
def test_a_state_that_is_none_stays_behind(state: str) -> None:
    assert read_trace_context({"traceparent": PARENT, "tracestate": state}) == (TRACE, {"traceparent": PARENT}, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_the_lowest_flag_says_whether_the_trace_is_recorded(flags: str, sampled: bool) -> None:
    assert read_trace_context({"traceparent": f"{PARENT[:-2]}{flags}"}).sampled is sampled


def test_no_metadata_is_no_trace() -> None:
    assert read_trace_context({}) == NO_TRACE


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-01.*", fullmatch=True), st.text())
def test_whatever_comes_only_plain_headers_are_sent_on(parent: str, state: str) -> None:
    for value in read_trace_context({"traceparent": parent, "tracestate": state}).headers.values():
        assert value.isascii()
        assert value.isprintable()
