"""Rules between settings, and what the files that they name must hold.

They are looked at even where single settings are wrong, so that all problems are told at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from gateway.credentials.tokens import read_token
from gateway.files.certificates import KeyUse, read_authorities, read_key_pair
from gateway.files.reloading import BadFileError
from gateway.settings.model import SECRETS, Auth, Settings
from gateway.settings.names import flag, variable
from gateway.settings.types import is_loopback
from gateway.upstream.tls import authorities_context

# Credentials that are the gateway's: whoever reaches its port uses them.
_OWN = frozenset({Auth.TOKEN, Auth.IAM, Auth.AKSK})

LONGEST_SHOWN_PATH = 255

# Tracing is off unless it names one.
TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"
_TRACES_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_SAMPLER, _RATIO = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_SAMPLERS = (
    *("always_on", "always_off", "traceidratio"),
    *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
)

# Where one of them is set, Prometheus' library keeps metrics in files of that folder.
_METRICS_FOLDERS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")

# Where the first is given, the second must be.
_TOGETHER = (
    ("tls_cert", "tls_key"),
    ("tls_key", "tls_cert"),
    ("tls_client_ca", "tls_cert"),
    ("tls_allowed_sans", "tls_client_ca"),
    ("upstream_client_cert", "upstream_client_key"),
    ("upstream_client_key", "upstream_client_cert"),
)


def find_contradictions(settings: Settings, given: AbstractSet[str], places: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each broken rule.

    Args:
        settings: Those that are good by themselves; the others have their defaults.
        given: Names of all that were given, good or bad.
        places: Where each was given.
    """
    yield from _upstream_problems(given, places)
    yield from _credential_problems(settings.auth, given, places)
    yield from _half_pairs(given, places)
    yield from _file_problems(settings, places)
    yield from _worker_problems(settings, places)
    yield from _tracing_problems()
    for name in _METRICS_FOLDERS:
        if name in os.environ:
            yield f"{name}: must not be set: workers have a folder of their own for metrics"
    if not settings.allow_insecure:
        yield from _exposed_credentials(settings, places)


def _upstream_problems(given: AbstractSet[str], places: Mapping[str, str]) -> Iterator[str]:
    if {"upstream_url", "region"} <= given:
        yield f"{places['upstream_url']}, {places['region']}: give one of them, not both"
    if not given & {"upstream_url", "region"}:
        yield (
            f"{_called('upstream_url')}, {_called('region')}: one of them must be given; "
            "to try the gateway without an account, start `swr-gateway simulate` and give "
            "--upstream-url http://127.0.0.1:8080 --auth none"
        )


def _credential_problems(auth: Auth, given: AbstractSet[str], places: Mapping[str, str]) -> Iterator[str]:
    match auth:
        case Auth.TOKEN:
            if len(given & {"token", "token_file"}) != 1:
                yield f"{places['auth']}: `token` needs one of {_called('token')} and {_called('token_file')}"
        case Auth.AKSK:
            yield from _missing("aksk", ("access_key", "secret_key"), given, places)
        case Auth.IAM:
            yield from _missing("iam", ("iam_username", "iam_password", "iam_domain"), given, places)
            for name in ("iam_url", "iam_project"):
                if not given & {name, "region"}:
                    yield f"{places['auth']}: `iam` needs {_called(name)} where {_called('region')} is not given"


def _missing(auth: str, names: tuple[str, ...], given: AbstractSet[str], places: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        if name not in given:
            yield f"{places['auth']}: `{auth}` needs {_called(name)}"


def _half_pairs(given: AbstractSet[str], places: Mapping[str, str]) -> Iterator[str]:
    for name, other in _TOGETHER:
        if name in given and other not in given:
            yield f"{places[name]}: needs {_called(other)}"


def _file_problems(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    if settings.auth == Auth.TOKEN and settings.token_file:
        yield from _tried(read_token, {"token_file": settings.token_file}, places)
    if settings.tls_client_ca:
        yield from _tried(read_authorities, {"tls_client_ca": settings.tls_client_ca}, places)
    if settings.tls_cert and settings.tls_key:
        paths = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
        yield from _tried(partial(read_key_pair, use=KeyUse.GRPC), paths, places)
    if settings.upstream_ca:
        yield from _tried(authorities_context, {"upstream_ca": settings.upstream_ca}, places)
    certificate, key = settings.upstream_client_cert, settings.upstream_client_key
    if certificate and key:
        paths = {"upstream_client_cert": certificate, "upstream_client_key": key}
        yield from _tried(partial(read_key_pair, use=KeyUse.OPENSSL), paths, places)


def _tried(read: Callable[..., object], paths: Mapping[str, Path], places: Mapping[str, str]) -> Iterator[str]:
    try:
        read(*paths.values())
    except BadFileError as error:
        named = ", ".join(places[name] for name, path in paths.items() if path == error.path)
        yield f"{named}: {error if _is_path(error.path) else error.problem}"


def _is_path(path: Path) -> bool:
    """Tell whether a text is meant as a path: it may be a secret that was put where its path belongs."""
    if path.is_absolute() and len(str(path)) <= LONGEST_SHOWN_PATH:
        return True
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for what is too long to be a name


def _worker_problems(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    sockets = [address for address in settings.listen if address.startswith("unix:")]
    if settings.workers > 1 and sockets:
        yield f"{places['workers']}: only one process can listen on {', '.join(sockets)}: give host:port, or one worker"


def _tracing_problems() -> Iterator[str]:
    """Explain what of OpenTelemetry's own variables this service does not do."""
    exporter = os.environ.get(TRACES_EXPORTER, "")
    if exporter in {"", "none"}:
        return
    if exporter != "otlp":
        yield f"{TRACES_EXPORTER}: must be otlp or none"
    elif not _is_installed("opentelemetry.exporter.otlp.proto.grpc"):
        yield f"{TRACES_EXPORTER}: needs the extra `otel`: pip install 'swr-gateway[otel]'"
    # The first that is not empty counts.
    given = [name for name in _TRACES_PROTOCOLS if os.environ.get(name)]
    if given and os.environ[given[0]] != "grpc":
        yield f"{given[0]}: must be grpc"
    yield from _sampler_problems()


def _sampler_problems() -> Iterator[str]:
    """Refuse what the library would read as: record everything."""
    sampler = os.environ.get(_SAMPLER, "")
    if sampler and sampler not in _SAMPLERS:
        yield f"{_SAMPLER}: must be one of {', '.join(_SAMPLERS)}"
    ratio = os.environ.get(_RATIO, "")
    if sampler.endswith("traceidratio") and ratio and not re.fullmatch(r"0?\.\d+|[01](\.0*)?", ratio):
        yield f"{_RATIO}: must be a number from 0 to 1"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _exposed_credentials(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    """Refuse what would hand the gateway's power, or a credential, to whoever is on the network."""
    exposed = [address for address in settings.listen if not _is_local(address)]
    if settings.auth in _OWN and exposed and not settings.tls_client_ca:
        yield (
            f"{places['listen']}: whoever reaches {', '.join(exposed)} could read every repository that the gateway's "
            f"own credential (auth={settings.auth.value}) may: give {flag('tls_client_ca')} for mutual TLS, listen on "
            f"127.0.0.1 only, or say {flag('allow_insecure')} where something else keeps callers out"
        )
    urls = {"upstream_url": settings.upstream_url if settings.auth != Auth.NONE else None}
    if settings.auth == Auth.IAM:
        urls["iam_url"] = settings.iam_url
    for name, url in urls.items():
        if url and url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
            yield (
                f"{places[name]}: credentials would go to {url} for everyone to read: use https://, or say "
                f"{flag('allow_insecure')} where something else protects the way"
            )


def _is_local(address: str) -> bool:
    return address.startswith("unix:") or is_loopback(address.rpartition(":")[0])


def _called(name: str) -> str:
    return variable(name) if name in SECRETS else f"{flag(name)} ({variable(name)})"
