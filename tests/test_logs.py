from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.logs import JsonFormatter, configure_logging

log = logging.getLogger("gateway.part")


@pytest.fixture(autouse=True)
def own_root_logger() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def json_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def log_odd_value() -> None:
    try:
        int("odd")
    except ValueError:
        log.exception("failed")


def test_a_json_line_has_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.warning("%d of %s", 3, "four")
    (line,) = json_lines(capsys)
    time = datetime.fromisoformat(line.pop("time"))
    assert line == {"level": "warning", "logger": "gateway.part", "message": "3 of four"}
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "text",
    ['"quoted" \\ {}', "first\nsecond\r\nthird", "tab\tnul\0escape\x1b[31m", "仓库 🚢", "\u2028separated\u2029"],
    ids=["quotes", "line breaks", "control characters", "not ASCII", "separators"],
)
def test_any_text_is_one_json_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.info("%s", text)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert json.loads(error)["message"] == text


def test_a_text_that_is_not_unicode_is_logged_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.info("cannot read %s", b"/run/\xff".decode(errors="surrogateescape"))
    (line,) = json_lines(capsys)
    assert line["message"].startswith("cannot read /run/")


def test_a_json_line_includes_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log_odd_value()
    (line,) = json_lines(capsys)
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("\nValueError: invalid literal for int() with base 10: 'odd'")


def test_a_line_without_an_exception_has_no_such_member(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.error("failed")
    (line,) = json_lines(capsys)
    assert "exception" not in line


def test_console_lines_are_text_with_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    log.warning("%d of %s", 3, "four")
    error = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING 3 of four\n", error)


def test_console_lines_include_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    log_odd_value()
    error = capsys.readouterr().err
    assert "failed\nTraceback (most recent call last):\n" in error
    assert error.endswith("\nValueError: invalid literal for int() with base 10: 'odd'\n")


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)], ids=str)
def test_what_is_below_the_level_is_left_out(
    level: str, count: int, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level, log_format)
    for write in (log.debug, log.info, log.warning, log.error):
        write("text")
    assert len(capsys.readouterr().err.splitlines()) == count


def test_configuring_again_does_not_write_lines_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    configure_logging("info", "json")
    log.info("once")
    assert [line["message"] for line in json_lines(capsys)] == ["once"]


HOSTILE = "\x1b]0;owned\x07\x7f\x9b2J\r\n\u202e\u2028\U000e0001"


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_json_line_gives_no_orders_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.info("%s", HOSTILE, extra={"fields": {"caller": HOSTILE}})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert (json.loads(line)["message"], json.loads(line)["caller"]) == (HOSTILE, HOSTILE)


def test_console_lines_give_no_orders_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    try:
        fail(HOSTILE)
    except ValueError:
        log.exception("%s", HOSTILE, extra={"fields": {"caller": HOSTILE}})
    first, *rest = capsys.readouterr().err.removesuffix("\n").split("\n")
    escaped = r"\x1b]0;owned\x07\x7f\x9b2J\r\n\u202e\u2028\U000e0001"
    assert first.endswith(f"ERROR   {escaped} caller={escaped}")
    assert rest[0] == "Traceback (most recent call last):"
    assert [line for line in rest if not line.isprintable()] == []


@pytest.mark.parametrize("standard_error", ["closed", "a pipe"])
def test_without_a_terminal_auto_is_json(standard_error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if standard_error == "closed":
        monkeypatch.setattr("sys.stderr", None)
    configure_logging("info", "auto")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, JsonFormatter)
