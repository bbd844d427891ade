"""Variables that are not the gateway's own, and what it makes of them: OpenTelemetry's, Prometheus', and proxies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec

# Tracing is off unless it names one.
TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"
_TRACES_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_SAMPLER, _RATIO = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_SAMPLERS = (
    *("always_on", "always_off", "traceidratio"),
    *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
)

# Where one of them is set, Prometheus' library keeps metrics in files of that folder.
METRICS_FOLDERS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def find_problems() -> Iterator[str]:
    """Yield a sentence for each variable that cannot be used as it is."""
    yield from _tracing_problems()
    for name in METRICS_FOLDERS:
        if name in os.environ:
            yield f"{name}: must not be set: metrics would be kept in files, and nothing here needs a disk"


def find_notes() -> Iterator[str]:
    """Yield a sentence for each thing that is in order, and may not be what was expected."""
    named = [name for proxy in _PROXIES for name in (proxy, proxy.lower()) if os.environ.get(name)]
    if named:
        yield f"{', '.join(named)}: not used: the gateway connects to the upstream and to IAM directly, without a proxy"


def _tracing_problems() -> Iterator[str]:
    """Explain what of OpenTelemetry's own variables this service does not do."""
    exporter = os.environ.get(TRACES_EXPORTER, "")
    if exporter in {"", "none"}:
        return
    if exporter != "otlp":
        yield f"{TRACES_EXPORTER}: must be otlp or none"
    elif not _is_installed("opentelemetry.exporter.otlp.proto.grpc"):
        yield f"{TRACES_EXPORTER}: needs the extra `otel`: pip install ./clients/python '.[otel]'"
    # The first that is not empty counts.
    given = [name for name in _TRACES_PROTOCOLS if os.environ.get(name)]
    if given and os.environ[given[0]] != "grpc":
        yield f"{given[0]}: must be grpc"
    yield from _sampler_problems()


def _sampler_problems() -> Iterator[str]:
    """Refuse a sampler or a ratio that the library does not know: it would record everything."""
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
