"""Rules between settings.

They are looked at even where single settings are wrong, so that all problems are told at once; but no rule is broken by
a setting whose value is not known: what is wrong with that is told already.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from urllib.parse import urlsplit

from gateway.settings import environment, named_files
from gateway.settings.addresses import collide, host_port, is_local, is_loopback
from gateway.settings.durations import write_duration
from gateway.settings.given import Given
from gateway.settings.model import Auth
from gateway.settings.names import called, flag

# Credentials that are the gateway's: whoever reaches its port uses them.
_OWN = frozenset({Auth.TOKEN, Auth.IAM, Auth.AKSK})

# Where the first is given, the second must be.
_TOGETHER = (
    ("tls_cert", "tls_key"),
    ("tls_key", "tls_cert"),
    ("tls_client_ca", "tls_cert"),
    ("tls_allowed_sans", "tls_client_ca"),
    ("upstream_client_cert", "upstream_client_key"),
    ("upstream_client_key", "upstream_client_cert"),
)


def find_contradictions(given: Given) -> Iterator[str]:
    """Yield a sentence for each broken rule."""
    yield from _upstream_problems(given)
    yield from _credential_problems(given)
    yield from _half_pairs(given)
    yield from named_files.find_problems(given)
    yield from _listener_problems(given)
    yield from _circles(given)
    yield from _limit_problems(given)
    yield from environment.find_problems()
    yield from _exposed_callers(given)
    yield from _readable_credentials(given)


def _upstream_problems(given: Given) -> Iterator[str]:
    if given.has("upstream_url", "region"):
        yield f"{given.place('upstream_url', 'region')}: give one of them, not both"
    if given.lacks("upstream_url", "region"):
        yield (
            f"{called('upstream_url')}, {called('region')}: one of them must be given; "
            "to try the gateway without an account, start `swr-gateway simulate` and give "
            "--upstream-url http://127.0.0.1:8080 --auth none"
        )


def _credential_problems(given: Given) -> Iterator[str]:
    if not given.knows("auth"):
        return
    match given.settings.auth:
        case Auth.TOKEN:
            if given.has("token", "token_file") or given.lacks("token", "token_file"):
                yield f"{given.place('auth')}: `token` needs one of {called('token')} and {called('token_file')}"
        case Auth.AKSK:
            yield from _missing(given, "access_key", "secret_key")
        case Auth.IAM:
            yield from _missing(given, "iam_username", "iam_password", "iam_domain")
            for name in ("iam_url", "iam_project"):
                if given.lacks(name, "region"):
                    yield f"{given.place('auth')}: `iam` needs {called(name)} where {called('region')} is not given"


def _missing(given: Given, *names: str) -> Iterator[str]:
    for name in names:
        if given.lacks(name):
            yield f"{given.place('auth')}: `{given.settings.auth.value}` needs {called(name)}"


def _half_pairs(given: Given) -> Iterator[str]:
    for name, other in _TOGETHER:
        if given.has(name) and given.lacks(other):
            yield f"{given.place(name)}: needs {called(other)}"


def _listeners(given: Given) -> list[tuple[str, str]]:
    """Return the addresses that are listened on, as far as they are known, and of which setting each is."""
    settings = given.settings
    listeners = [("listen", address) for address in settings.listen if given.knows("listen")]
    if given.knows("admin_listen") and settings.admin_listen:
        listeners.append(("admin_listen", settings.admin_listen))
    return listeners


def _listener_problems(given: Given) -> Iterator[str]:
    settings, listeners = given.settings, _listeners(given)
    for (name, address), (other_name, other) in combinations(listeners, 2):
        if collide(address, other):
            what = "path" if address.startswith("unix:") else "port"
            where = given.place(name, other_name)
            yield f"{where}: {address} and {other} have the same {what}: give one of them another"
    sockets = [address for address in settings.listen if address.startswith("unix:")]
    if given.knows("listen", "workers") and settings.workers > 1 and sockets:
        where = ", ".join(sockets)
        yield f"{given.place('workers')}: only one process can listen on {where}: give host:port, or one worker"


def _circles(given: Given) -> Iterator[str]:
    """Refuse an upstream that is the gateway itself: every call would fail, for reasons that speak of the upstream."""
    settings = given.settings
    urls = {"upstream_url": settings.upstream_url}
    if settings.auth is Auth.IAM:
        urls["iam_url"] = settings.iam_url
    for name, url in urls.items():
        address = host_port(url) if url else ""
        if not address or not is_local(address):
            continue
        for listener, own in _listeners(given):
            if collide(address, own):
                where = given.place(name, listener)
                yield f"{where}: the gateway itself listens on {own}, which is where {url} is: give one of them another"


def _limit_problems(given: Given) -> Iterator[str]:
    """Refuse a limit that another setting never lets come into play. Defaults give way, so only given ones can be."""
    settings = given.settings
    if given.knows("attempt_timeout", "timeout") and settings.attempt_timeout > settings.timeout:
        yield (
            f"{given.place('attempt_timeout')}: one upstream request may not take longer than a call, which is "
            f"{write_duration(settings.timeout)} long: give less, or more as {called('timeout')}"
        )
    if given.knows("prefetch", "max_in_flight") and settings.prefetch > settings.max_in_flight:
        yield (
            f"{given.place('prefetch')}: pages fetched ahead are requests at once, and there may be "
            f"{settings.max_in_flight} of those: give less, or more as {called('max_in_flight')}"
        )


def _exposed_callers(given: Given) -> Iterator[str]:
    """Refuse a port that is open to the network without mutual TLS, where calls use the gateway's own credential."""
    settings = given.settings
    if settings.allow_insecure or not given.knows("allow_insecure", "auth", "listen"):
        return
    exposed = [address for address in settings.listen if not is_local(address)]
    if settings.auth in _OWN and exposed and given.lacks("tls_client_ca"):
        yield (
            f"{given.place('listen')}: whoever reaches {', '.join(exposed)} could read every repository that the "
            f"gateway's own credential (auth={settings.auth.value}) may: give {flag('tls_client_ca')} for mutual TLS, "
            f"listen on 127.0.0.1 only, or say {flag('allow_insecure')} where something else keeps callers out"
        )


def _readable_credentials(given: Given) -> Iterator[str]:
    """Refuse what would hand a credential to whoever is on the network."""
    settings = given.settings
    if settings.allow_insecure or not given.knows("allow_insecure", "auth"):
        return
    urls = {"upstream_url": settings.upstream_url if settings.auth != Auth.NONE else None}
    if settings.auth == Auth.IAM:
        urls["iam_url"] = settings.iam_url
    for name, url in urls.items():
        if url and url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
            yield (
                f"{given.place(name)}: credentials would go to {url} for everyone to read: use https://, or say "
                f"{flag('allow_insecure')} where something else protects the way"
            )
