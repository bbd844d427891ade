"""A gRPC gateway in front of Huawei Cloud SWR's REST list of image repositories.

Callers in Python have a distribution of their own, clients/python, without anything of this one; the commands use it.

The rooms, each of which imports only those below it (import-linter and tests/test_architecture.py hold them to it):

    cli           the commands: serve, demo, simulate, list, check-config
    workers       several processes that share the ports, and the supervisor that replaces and drains them
    server        gRPC: the servicer, the interceptor around it, health, reflection, TLS, start and drain
    listing       how a page is got, without gRPC: cached, shared, fetched, converted; streams of pages
    telemetry     what operators see: call records, access log, traces, event loop monitor, admin endpoints
    simulator     the embedded upstream, which speaks as SWR does, with faults on demand
    settings      flags, environment and file, as one checked model
    credentials   how the gateway authenticates to the upstream: tokens, IAM, signatures
    upstream      one HTTP request to the upstream or to IAM, TLS to them, and what failures mean
    reliability   concurrency limit, coalescing, cache, memory budget, deadlines
    files         certificates and other files that are read again when they change
    metrics       what is counted and measured
    allocator     memory that is kept between calls
    background    tasks beside the calls, which log it when they die
    threads       what blocks, in threads that the end of the process leaves behind
    systemd       what systemd is told: ready, reloading, alive
    logs, stderr  log lines as JSON or as text, and a standard error that nobody waits for
    start_errors  what stops a start
    core          the meaning of a call, pure: filter, page, signature, errors, statuses, retries, circuits, fairness
    swr.v1        generated from protos/gateway/swr/v1/repos.proto

One call walks down: server.interceptor and server.serving authorize it, server.servicer reads the request, listing gets
the page through reliability, credentials and upstream.client, and core says what all of it means. What goes wrong is a
core.errors.GatewayError on the way, which server.ending sends as the status that core.rpc_status makes of it.
"""

__version__ = "0.1.0"
