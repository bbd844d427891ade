"""The pure core: what a call means, with no I/O, no clock, no gRPC and no HTTP library in it.

`filter` turns a request into the upstream's request target, `convert` an answer's body into the reply, `status` an
answer that is an error into a `GatewayError`, and `rpc_status` that into what a caller receives.
"""
