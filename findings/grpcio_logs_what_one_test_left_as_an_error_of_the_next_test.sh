#!/usr/bin/env bash
# grpcio 1.85, asyncio, with pytest-asyncio 1.5: what a test's call leaves behind is logged as an error of another test.
#
# pytest-asyncio gives each test an event loop of its own, so one would think that no test hears of another's calls. grpc.aio has one
# queue of completions for all loops of a process. The end of an operation that nobody waits for any more, of a call that was cancelled
# or a state that is watched no longer, may come when the test's loop is closed already. It is read in the loop of the next test that
# uses gRPC, which cannot hand it over: asyncio logs `Exception in callback PollerCompletionQueue._handle_events`, `RuntimeError: Event
# loop is closed`. A test that looks at its log is red then, now and then on a busy machine, and it is never the one that left
# something. What helps is a loop that ignores what gRPC hands over once it is closed (`pytest_asyncio_loop_factories`), or one loop
# for all tests.
#
# Seen with grpcio 1.85.3, pytest 9.2.0, pytest-asyncio 1.5.0 on CPython 3.11 and Linux: of two tests the first one watches a channel,
# cancels and awaits the watch, and passes; the second one, in which the channel's state changes, finds the error in its log. With a
# loop that both share it finds nothing. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 pytest==9.2.0 pytest-asyncio==1.5.0
cat > "$folder/test_two.py" <<'PYTHON'
import asyncio
import socket

import grpc

LISTENING = socket.create_server(("127.0.0.1", 0))
ADDRESS = f"127.0.0.1:{LISTENING.getsockname()[1]}"
CHANNELS = []


async def test_one_that_watches_a_channel_for_a_while():
    channel = grpc.aio.insecure_channel(ADDRESS)
    CHANNELS.append(channel)
    watch = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE))
    await asyncio.sleep(0)
    watch.cancel()
    await asyncio.wait([watch])


async def test_another_one(caplog):
    async with grpc.aio.insecure_channel(ADDRESS):
        CHANNELS[0].get_state(try_to_connect=True)
        await asyncio.sleep(1)
    assert caplog.text == ""
PYTHON

# Run both tests on loops of this scope, and print what pytest says of them.
run() {
    local options=(-o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function -o asyncio_default_test_loop_scope="$1")
    cd "$folder" && "$folder/venv/bin/python" -m pytest -q "${options[@]}" test_two.py || true
}

own=$(run function) shared=$(run module)
grep -E "passed|failed|RuntimeError" <<<"$own" | sort -u
echo "with one loop for both: $(tail -n 1 <<<"$shared")"
grep -q "FAILED test_two.py::test_another_one" <<<"$own"
grep -q "1 failed, 1 passed" <<<"$own"
grep -q "RuntimeError: Event loop is closed" <<<"$own"
grep -q "2 passed" <<<"$shared"
