"""A gRPC gateway in front of Huawei Cloud SWR's REST list of image repositories.

The rooms, each of which imports only those below it (tests/test_architecture.py holds them to it):

    cli          the commands: serve, demo, simulate, list, check-config
    client       for callers in Python: calls, resumed streams, one error
    workers      several processes that share the ports, and the one that looks after them
    server       the callers' side: gRPC server, TLS, RepoService, the guard around it, health, admin, traces
    simulator    the embedded upstream, which speaks as SWR does, with faults on demand
    settings     flags, environment and file, as one checked model
    credentials  how the gateway signs in to the upstream: tokens, IAM, signatures
    upstream     one HTTP request to the upstream or to IAM, TLS to them, and what failures mean
    reliability  turns at the upstream, shared calls, remembered pages, how long a call may wait
    files        certificates and other files that are read again when they change
    metrics      what is counted and measured
    logs         log lines, as JSON or as text
    stderr       standard error that nobody waits for
    core         the meaning of a call, pure: filter, page, signature, errors, statuses, retries, circuits, fair turns
    swr.v1       generated from protos/gateway/swr/v1/repos.proto

A call passes through server.guard and server.serving, which tells server.observer of it, server.servicer, core.filter,
server.pages, server.fetching, credentials, upstream.client and core.convert. What goes wrong on the way is a
core.errors.GatewayError, which core.rpc_status turns into what the caller receives.
"""

__version__ = "0.1.0"
