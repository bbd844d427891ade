"""The status page: the state of a gateway as HTML, without scripts, and with nothing loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from gateway.telemetry.markup import Html, element, together
from gateway.telemetry.status import Failures, Shown, Status, Use

_STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

_POLICY = (
    *("default-src 'none'", f"style-src 'sha256-{_STYLE_HASH}'"),
    *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
)
HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "; ".join(_POLICY)),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"""

_PAGES = (("/", "Refresh"), ("/metrics", "Metrics"), ("/livez", "Liveness"), ("/readyz", "Readiness"))


def render(status: Status) -> str:
    """Return the page."""
    title = element("title", f"swr-gateway: {_state(status)}")
    body = element("body", _header(status), element("main", _now(status), _workers(status), *_lists(status)))
    return f"{_HEAD}{title}\n<style>{_STYLE}</style>\n</head>\n{body}\n</html>\n"


def _state(status: Status) -> str:
    if status.problems:
        return "broken"
    return "not ready" if status.not_ready_reasons else "ready"


def _header(status: Status) -> Html:
    state = _state(status)
    reasons = dict.fromkeys((*status.problems, *status.not_ready_reasons))
    tail = (f": {'; '.join(reasons)}",) if reasons else ()
    links = [element("li", element("a", text, href=path)) for path, text in _PAGES]
    return element(
        "header",
        element("h1", "swr-gateway ", element("span", status.version, class_="version")),
        element("p", element("strong", state), *tail, class_=f"state {state.replace(' ', '-')}"),
        element("p", "in front of ", element("code", status.upstream), class_="upstream"),
        element("nav", element("ul", *links), aria_label="Pages"),
    )


def _now(status: Status) -> Html:
    held, cache = status.held, status.cache
    failed = sum(one.count for one in status.failures)
    tiles = (
        _tile("Calls in flight", _number(status.in_flight), f"{_number(status.streams)} of them streams"),
        _tile("Requests to the upstream", *_use(status.requests)),
        _tile("Calls in the queue", *_use(status.queue)),
        _tile("Circuit breaker", status.circuit, "towards the upstream"),
        _tile(
            "Bytes held",
            _bytes(held.waiting + held.ahead + held.cached),
            f"{_bytes(held.waiting)} unread, {_bytes(held.ahead)} fetched ahead, {_bytes(held.cached)} in the cache",
        ),
        _tile(
            "Answered from the cache",
            _number(cache.hits + cache.stale) if cache.is_on else "off",
            f"{_number(cache.stale)} of them stale" if cache.is_on else "",
            f"{_number(cache.coalesced)} calls coalesced",
        ),
        _tile("Calls since the start", _number(status.calls), f"{_number(failed)} failed"),
        _tile("Up for", _duration(status.at - status.began_at), together("since ", _time(status.began_at))),
    )
    return _section("now", "Now", element("dl", *tiles, class_="tiles"))


def _tile(label: str, value: str, *details: str) -> Html:
    notes = [element("dd", detail, class_="detail") for detail in details if detail]
    return element("div", element("dt", label), element("dd", value, class_="value"), *notes)


def _use(use: Use) -> tuple[str, Html]:
    text = f"{_number(use.used)} of {_number(use.limit)}"
    meter = element("meter", text, min="0", max=str(max(use.limit, 1)), value=str(use.used), aria_hidden="true")
    return text, meter


def _workers(status: Status) -> Html:
    if not status.workers:
        return Html()
    lines = [element("li", line) for line in status.workers]
    return _section("workers", "Workers", element("ul", *lines, class_="lines"))


def _lists(status: Status) -> tuple[Html, Html]:
    changed = [one for one in status.settings if not one.is_default]
    rest = [one for one in status.settings if one.is_default]
    settings = together(
        _settings(changed) if changed else element("p", "All settings have their defaults."),
        element("details", element("summary", f"Settings with their defaults: {len(rest)}"), _settings(rest)),
    )
    return _section("failures", "Failed calls", _failures(status)), _section("settings", "Settings", settings)


def _failures(status: Status) -> Html:
    if not status.failures:
        return element("p", "None since the start.")
    rows = [_failure(one, status.at) for one in status.failures]
    return _table(("Reason", "Last", "Calls"), rows)


def _failure(failures: Failures, now: float) -> Html:
    ago = f"{_duration(now - failures.last_at)} ago, "
    when = together(ago, _time(failures.last_at)) if failures.last_at else "in a worker that has ended"
    return element(
        "tr",
        element("th", element("code", failures.reason), scope="row"),
        element("td", when),
        element("td", _number(failures.count), class_="number"),
    )


def _settings(settings: list[Shown]) -> Html:
    rows = [
        element("tr", element("th", element("code", one.name), scope="row"), element("td", one.value))
        for one in settings
    ]
    return _table(("Setting", "Value"), rows)


def _table(columns: tuple[str, ...], rows: list[Html]) -> Html:
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    return element("table", head, element("tbody", *rows))


def _section(name: str, title: str, *content: Html) -> Html:
    return element("section", element("h2", title, id=name), *content, aria_labelledby=name)


def _number(number: int) -> str:
    return f"{number:,}"


def _bytes(size: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size} B"


def _duration(seconds: float) -> str:
    """Return how long something is, in its two largest units."""
    parts: list[str] = []
    left = max(int(seconds), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _time(seconds: float) -> Html:
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return element("time", f"{moment:%Y-%m-%d %H:%M:%S} UTC", datetime=f"{moment:%Y-%m-%dT%H:%M:%SZ}")
