"""The cases: importing this registers them, in the order of the table."""

from clients.interop.cases import (  # isort: skip
    requests as requests,
    failures as failures,
    replies as replies,
    streams as streams,
    limits as limits,
    retries as retries,
    restarts as restarts,
    connections as connections,
    identities as identities,
)
