"""Settings by groups, as help and docs/settings.md list them."""

from __future__ import annotations

from gateway.settings.model import Settings

# The first setting of each: those behind it, in the order of the model, are of the same group.
_BEGIN = {
    "listen": "Addresses",
    "upstream_url": "Upstream",
    "auth": "Credential for the upstream",
    "timeout": "Timeouts and retries",
    "max_in_flight": "Concurrency and queue",
    "circuit": "Circuit breaker",
    "max_response_bytes": "Large answers, streams, slow callers",
    "cache_ttl": "Cache and coalescing",
    "tls_cert": "TLS for callers",
    "upstream_ca": "TLS to the upstream",
    "allow_insecure": "Without TLS",
    "workers": "Processes and connections",
    "drain_delay": "Shutdown",
    "reflection": "Reflection and channelz",
    "log_level": "Log",
}


def setting_groups() -> dict[str, tuple[str, ...]]:
    """Return the names of all settings by the title of their group, in the order of the model."""
    groups: dict[str, tuple[str, ...]] = {}
    title = ""
    for name in Settings.model_fields:
        title = _BEGIN.get(name, title)
        groups[title] = (*groups.get(title, ()), name)
    return groups
