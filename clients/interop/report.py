"""The table of what came of it: on the screen, and as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from clients.interop.case import Case, Played, Verdict
from clients.interop.registry import CLIENTS_FOLDER, Client

_HEAD = """# What each client library does

`make interop-all` writes this page: cases, each played with every client library on a gateway that runs as a process,
in front of an upstream. Clients are set up as the examples in `clients/` are. "ok" is what the case expects; anything
else in a cell is what that client shows instead, and the number behind it leads to the reason.
"""

Outcomes = Mapping[str, Mapping[str, Played]]


def as_text(cases: Sequence[Case], outcomes: Outcomes) -> str:
    """Return the table for a screen, and below it what went wrong."""
    width = max(len(case.name) for case in cases)
    widths = {client: max(len(client), *(len(one.seen) for one in its.values())) for client, its in outcomes.items()}
    lines = ["  ".join([" " * width, *(client.ljust(wide) for client, wide in widths.items())])]
    for case in cases:
        cells = [outcomes[client][case.name].seen.ljust(wide) for client, wide in widths.items()]
        lines.append("  ".join([case.name.ljust(width), *cells]))
    wrong = [
        f"wrong: {case.name}, {client}: {its[case.name].remark}"
        for case in cases
        for client, its in outcomes.items()
        if its[case.name].verdict is Verdict.FAILED
    ]
    return "\n".join([*(line.rstrip() for line in lines), *wrong])


def as_markdown(cases: Sequence[Case], clients: Sequence[Client], outcomes: Outcomes) -> str:
    """Return the page."""
    notes = _Notes()
    table = list(_table(cases, clients, outcomes, notes))
    versions = [_row([client.name, client.language, client.version, _folder(client)]) for client in clients]
    return "\n".join(
        [
            _HEAD,
            *table,
            "",
            *notes.lines(),
            "",
            "## The cases",
            "",
            _row(["case", "what is done, and expected"]),
            _row(["---"] * 2),
            *(_row([f"`{case.name}`", case.what]) for case in cases),
            "",
            "## The clients",
            "",
            _row(["client", "language", "version", "how to build and use it, its traps"]),
            _row(["---"] * 4),
            *versions,
            "",
        ]
    )


def _folder(client: Client) -> str:
    readme = CLIENTS_FOLDER / client.folder / "README.md"
    return f"[clients/{client.folder}](../clients/{client.folder}/README.md)" if readme.exists() else ""


class _Notes:
    """Footnotes: one for each reason, in the order in which they come up."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        number = self._numbers.setdefault(reason, len(self._numbers) + 1)
        return f" ({number})"

    def lines(self) -> Iterator[str]:
        for reason, number in self._numbers.items():
            yield f"{number}. {reason}"


def _table(cases: Sequence[Case], clients: Sequence[Client], outcomes: Outcomes, notes: _Notes) -> Iterator[str]:
    yield _row(["", *(client.name for client in clients)])
    yield _row(["---"] * (len(clients) + 1))
    for case in cases:
        played = [outcomes[client.name][case.name] for client in clients]
        yield _row([f"`{case.name}`", *(one.seen + (notes.mark(one.remark) if one.remark else "") for one in played)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
