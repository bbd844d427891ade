"""What each way to sign in costs a request, in microseconds of CPU."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.credentials.access_key import AccessKey, AccessKeySigner
from gateway.credentials.base import Credential
from gateway.credentials.tokens import CallerToken, StaticToken, TokenFile
from gateway.metrics import Metrics

ROUNDS = 15
REQUESTS = 1000
METADATA = {"x-auth-token": "t" * 12_000}


def main() -> None:
    print("\nSigning one request in, microseconds of CPU\n")
    with tempfile.NamedTemporaryFile("w") as token_file:
        token_file.write(METADATA["x-auth-token"])
        token_file.flush()
        signer = AccessKeySigner(AccessKey("AK", "SK" * 20), "https://swr.example")
        ways: tuple[tuple[str, Credential, bool], ...] = (
            ("the caller's token", CallerToken(), True),
            ("a token of its own", StaticToken("t" * 12_000), True),
            ("a token from a file", TokenFile(Path(token_file.name), Metrics()), True),
            ("access key, query seen before", signer, True),
            ("access key, new query", signer, False),
        )
        for name, credential, same in ways:
            print(f"{name:<32} {_median(credential, same=same) * 1e6:>6.1f}")


def _median(credential: Credential, *, same: bool) -> float:
    return statistics.median(asyncio.run(_seconds(credential, targets)) for targets in _rounds(same=same))


def _rounds(*, same: bool) -> Iterator[list[str]]:
    for number in range(ROUNDS):
        offsets = [0] * REQUESTS if same else range(number * REQUESTS, (number + 1) * REQUESTS)
        clauses = "center%3A%3Aself%7Cnamespace%3A%3Agroup%7Cname%3A%3Anginx%7Coffset%3A%3A"
        yield [f"/v2/manage/repos?filter={clauses}{offset}%7Climit%3A%3A100" for offset in offsets]


async def _seconds(credential: Credential, targets: list[str]) -> float:
    started = time.process_time()
    for target in targets:
        await credential.auth_headers(target, METADATA)
    return (time.process_time() - started) / len(targets)


if __name__ == "__main__":
    main()
