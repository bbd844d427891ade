"""The state of a gateway, for its status page: read from its metrics, or from those of all its workers together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gateway import __version__
from gateway.core.service import METHODS
from gateway.settings.model import SECRETS, Settings
from gateway.settings.names import flag, variable


@dataclass(frozen=True, slots=True)
class Use:
    """How much of something is in use, and how much there may be."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory.

    Attributes:
        waiting: Of replies that wait for their readers.
        ahead: Of pages that streams have fetched ahead.
        cached: Of replies that are remembered.
    """

    waiting: int
    ahead: int
    cached: int


@dataclass(frozen=True, slots=True)
class Cache:
    """What calls were given without a request of their own.

    Attributes:
        is_on: Whether replies are remembered.
        hits: Calls that were given one.
        stale: Those that were given one because the upstream was unavailable.
        coalesced: Calls that joined the request of an identical one.
    """

    is_on: bool
    hits: int
    stale: int
    coalesced: int


@dataclass(frozen=True, slots=True)
class Failures:
    """Calls that failed for one reason: how many since the start, and when the last one did, in seconds since 1970."""

    reason: str
    count: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as it is shown, without what is secret in it."""

    name: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a gateway at one moment.

    Attributes:
        version: Of the gateway.
        upstream: Its scheme, host and port.
        at: The moment, in seconds since 1970.
        began_at: When the gateway began, likewise.
        problems: What is wrong for good.
        not_ready_reasons: What keeps it from serving.
        workers: A line for each of several processes.
        circuit: The state of the circuit breaker.
        calls: Calls of the service since the start.
        in_flight: Calls that are being served.
        streams: Those that are answered by streams.
        requests: Requests to the upstream.
        queue: Calls that wait for one.
        held: Bytes in memory.
        cache: What was given without a request.
        failures: Calls that failed, the latest reason first.
        settings: All settings.
    """

    version: str
    upstream: str
    at: float
    began_at: float
    problems: tuple[str, ...]
    not_ready_reasons: tuple[str, ...]
    workers: tuple[str, ...]
    circuit: str
    calls: int
    in_flight: int
    streams: int
    requests: Use
    queue: Use
    held: Held
    cache: Cache
    failures: tuple[Failures, ...]
    settings: tuple[Shown, ...]


def read_status(
    settings: Settings,
    registry: CollectorRegistry,
    began_at: float,
    problems: tuple[str, ...],
    not_ready_reasons: tuple[str, ...],
    notes: tuple[str, ...],
) -> Status:
    """Return the state of a gateway.

    Args:
        settings: Its settings.
        registry: Its metrics.
        began_at: When it began, in seconds since 1970.
        problems: What is wrong for good.
        not_ready_reasons: What keeps it from serving.
        notes: What else operators should know: of the circuit, or of each worker.
    """
    numbers = _Numbers(registry)
    is_alone = settings.workers == 1
    return Status(
        version=__version__,
        upstream=settings.origin,
        at=time.time(),
        began_at=began_at,
        problems=problems,
        not_ready_reasons=not_ready_reasons,
        workers=() if is_alone else notes,
        circuit=", ".join(notes).removeprefix("upstream circuit: ") if is_alone else _circuit(settings, numbers),
        calls=sum(numbers.of("grpc_server_call_started_total", grpc_method=method) for method in METHODS),
        in_flight=numbers.of("swr_gateway_calls_in_flight"),
        streams=numbers.of("swr_gateway_streams_in_flight"),
        requests=Use(numbers.of("swr_gateway_upstream_in_flight"), numbers.of("swr_gateway_upstream_in_flight_limit")),
        queue=Use(numbers.of("swr_gateway_upstream_queue"), numbers.of("swr_gateway_upstream_queue_limit")),
        held=Held(
            numbers.of("swr_gateway_messages_waiting_bytes"),
            numbers.of("swr_gateway_prefetched_bytes"),
            numbers.of("swr_gateway_cache_bytes"),
        ),
        cache=Cache(
            bool(settings.cache_ttl or settings.stale_if_error),
            numbers.of("swr_gateway_cached_pages_total", how="hit"),
            numbers.of("swr_gateway_cached_pages_total", how="stale"),
            numbers.of("swr_gateway_coalesced_calls_total"),
        ),
        failures=tuple(_failures(numbers)),
        settings=tuple(_shown(settings)),
    )


class _Numbers:
    """All metrics as they stand."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in registry.collect():
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def of(self, name: str, **labels: str) -> int:
        """Return a number, summed over the labels that are not given; 0 where there is none."""
        return int(self.exact(name, **labels))

    def exact(self, name: str, **labels: str) -> float:
        """Return a number with what stands behind its point."""
        return sum(value for of, value in self._samples.get(name, ()) if labels.items() <= of.items())

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {labels[label] for labels, _ in self._samples.get(name, ())}


def _circuit(settings: Settings, numbers: _Numbers) -> str:
    if not settings.circuit:
        return "off"
    return "open in a worker" if numbers.of("swr_gateway_upstream_circuit_open") else "closed"


def _failures(numbers: _Numbers) -> list[Failures]:
    found = []
    for reason in numbers.labels("swr_gateway_call_failures_total", "reason"):
        counts = [
            numbers.of("swr_gateway_call_failures_total", grpc_method=method, reason=reason) for method in METHODS
        ]
        last = numbers.exact("swr_gateway_last_failure_timestamp_seconds", reason=reason)
        if any(counts):
            found.append(Failures(reason, sum(counts), last))
    return sorted(found, key=lambda one: (-one.last_at, one.reason))


def _shown(settings: Settings) -> Iterable[Shown]:
    defaults = Settings.model_construct().model_dump(mode="json")
    for name, value in settings.model_dump(mode="json").items():
        if name in SECRETS:
            yield Shown(variable(name), "set, not shown" if value else "not set", value is None)
        else:
            yield Shown(flag(name), _written(value), value == defaults[name])


def _written(value: object) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case None | "":
            return "not set"
        case _:
            return str(value)
