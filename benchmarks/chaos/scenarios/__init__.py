"""The scenarios: importing this registers them, in the order of the table."""

from benchmarks.chaos.scenarios import (  # isort: skip
    late_bytes as late_bytes,
    forgotten as forgotten,
    hasty as hasty,
    tenants as tenants,
    unread as unread,
    readers as readers,
    half_closed as half_closed,
    pause as pause,
    disk as disk,
    admin as admin,
    soak as soak,
)
