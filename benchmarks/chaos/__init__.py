"""Scenarios of an unlucky world, each with numbers that a promise limits: `make chaos` runs them.

    __main__    which scenarios, on which builds; the table
    scenario    what a scenario is, and its promise
    subjects    what is put into the world: the gateway of a tree, Envoy, a Go service
    serving     a subject that runs: its process, where it serves, its callers
    upstream    plays the upstream, on raw sockets
    callers     who ask, over gRPC or HTTP, and know the rows that are theirs
    load        how they ask: at once, one by one, at a rate, again and again
    http2       a caller that the libraries do not offer: one that never reads
    scenarios   the scenarios

A scenario sees processes from outside only, so the same one runs on any of them.
"""
