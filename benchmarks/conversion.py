"""Conversion of a page to a serialized reply, against json.loads + json_format.ParseDict + SerializeToString.

The columns differ in what was seen before:

    nothing      rows and times never seen: the first contact
    times        rows never seen, with times that were: what changes in a row is its counters (memo off)
    rows         rows seen, in a page that was not: a list that changed a bit
    page         the very page seen: callers who poll
    total moved  as `rows`, with another number of matches in every row: a repository came or went
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import json_format

from benchmarks.pages import TOTAL, convert, encode, records
from gateway.core import row_encoding
from gateway.core.convert import PageConverter
from gateway.swr.v1 import repos_pb2

HEADER = "0-100/25000"
ROUNDS = 15
MEMO_BYTES = 64 * 2**20


def main() -> None:
    print("\nConversion of one page, microseconds of CPU; in brackets how many times faster than ParseDict\n")
    columns = ("nothing", "times", "rows", "page", "total moved")
    print(f"{'rows':>6}  {'ParseDict':>10}  " + "  ".join(f"{column:>16}" for column in columns))
    for count in (10, 100, 1000):
        page = records(count)
        baseline = _median(_parse_dict, [encode(page)] * 7)
        cells = [_cell(baseline, seconds) for seconds in _conversions(page)]
        print(f"{count:>6}  {baseline * 1e6:>10.0f}  " + "  ".join(cells))
    longest, steps = _longest_step()
    print(f"\nLongest turn of the event loop on a page of 5000 new rows: {longest * 1e3:.1f} ms, of {steps} turns")


def _conversions(page: list[dict[str, Any]]) -> Iterator[float]:
    body = encode(page)
    plain, remembering = PageConverter(0), PageConverter(MEMO_BYTES)
    yield _median(
        lambda text: convert(plain, text, len(page)), [body] * ROUNDS, before=row_encoding._encode_times.cache_clear
    )
    yield _median(lambda text: convert(plain, text, len(page)), [body] * ROUNDS)
    convert(remembering, body, len(page))
    rotated = [encode(page[shift:] + page[:shift]) for shift in range(1, ROUNDS + 1)]
    yield _median(lambda text: convert(remembering, text, len(page)), rotated)
    # A copy each: a bytes object remembers its hash, and what comes from a socket is new.
    yield _median(lambda text: convert(remembering, text, len(page)), [bytes(bytearray(body)) for _ in range(ROUNDS)])
    moved = [encode([{**row, "total_range": TOTAL + step} for row in page]) for step in range(1, ROUNDS + 1)]
    yield _median(lambda text: convert(remembering, text, len(page)), moved)


def _parse_dict(body: bytes) -> bytes:
    reply = repos_pb2.ListReposResponse()
    json_format.ParseDict({"repos": json.loads(body)}, reply, ignore_unknown_fields=True)
    return reply.SerializeToString()


def _longest_step() -> tuple[float, int]:
    body = encode(records(5000))
    row_encoding._encode_times.cache_clear()
    steps = PageConverter(MEMO_BYTES).convert(body, HEADER, None)
    turns = []
    while True:
        start = time.perf_counter()
        try:
            next(steps)
        except StopIteration:
            break
        finally:
            turns.append(time.perf_counter() - start)
    return max(turns), len(turns)


def _median(run: Callable[[bytes], object], texts: list[bytes], before: Callable[[], object] | None = None) -> float:
    taken = []
    for text in texts:
        if before:
            before()
        start = time.process_time_ns()
        run(text)
        taken.append(time.process_time_ns() - start)
    return statistics.median(taken) / 1e9


def _cell(baseline: float, seconds: float) -> str:
    return f"{seconds * 1e6:>8.0f} ({baseline / seconds:>4.0f}x)"


if __name__ == "__main__":
    main()
