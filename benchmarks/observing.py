"""What it costs to be seen: CPU time of one ListRepos with metrics and log lines, beside the same gateway without."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import ExitStack

from benchmarks.call import Server, measure
from benchmarks.process import SERVE, address_in, running

LIMIT = 10
ROUNDS = 5


def main() -> None:
    print(f"\nOne call, limit {LIMIT}, microseconds of CPU (median of {ROUNDS} rounds taken in turn)\n")
    unobserved = ("-m", "benchmarks.unobserved", *SERVE[2:])
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream"))
        commands = {"not observed": unobserved, "metrics and log": SERVE}
        servers = {}
        for name, command in commands.items():
            process, line = stack.enter_context(running(*command, "--upstream-url", url))
            servers[name] = Server(process, address_in(line))
        rounds = [
            {name: asyncio.run(measure(server, LIMIT)) * 1e6 for name, server in servers.items()} for _ in range(ROUNDS)
        ]
    times = {name: statistics.median(each[name] for each in rounds) for name in servers}
    for name, time in times.items():
        # Each round for itself: what disturbs one disturbs all that is measured in it.
        share = statistics.median(each["not observed"] / each[name] for each in rounds)
        print(f"{name:>16}  {time:>5.0f}  throughput {share:.2f} of what is not observed")


if __name__ == "__main__":
    main()
