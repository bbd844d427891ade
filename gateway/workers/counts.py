"""The metrics of all workers, read as those of one gateway.

They come through the channels, so that there are no files: those of the metrics' library fill a disk, and a full one
kills whoever writes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.metrics import Family, Together

_COMBINE: dict[Together, Callable[[float, float], float]] = {
    "sum": lambda one, other: one + other,
    "livesum": lambda one, other: one + other,
    "livemax": max,
    "livemin": min,
}


class Totals(Collector):
    """What workers have counted, those that have ended included; gauges are of those that live.

    Args:
        ask: Has those that live tell what they have counted by now, as far as they do; called from any thread.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._living: dict[int, tuple[Family, ...]] = {}
        self._ended: tuple[Family, ...] = ()

    def update(self, worker: int, families: tuple[Family, ...]) -> None:
        """Take what a worker has counted since it started; 0 is the supervisor."""
        self._living[worker] = families

    def end(self, worker: int) -> None:
        """Keep of a worker that has ended what it has counted; who takes its place begins at 0."""
        counted = [family for family in self._living.pop(worker, ()) if family.together == "sum"]
        self._ended = tuple(_merge([*self._ended, *counted]))

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all."""
        self._ask()
        living = [family for families in list(self._living.values()) for family in families]
        return [_to_metric(family) for family in _merge([*self._ended, *living])]


def _merge(families: Iterable[Family]) -> Iterable[Family]:
    """Make one of all families of a name."""
    merged: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for family in families:
        _, values = merged.setdefault(family.name, (family, {}))
        combine = _COMBINE[family.together]
        for name, labels, value in family.samples:
            before = values.get((name, labels))
            values[name, labels] = value if before is None else combine(before, value)
    for family, values in merged.values():
        samples = tuple((name, labels, value) for (name, labels), value in values.items())
        yield Family(family.name, family.text, family.kind, family.together, samples)


def _to_metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for name, labels, value in family.samples:
        metric.add_sample(name, dict(labels), value)
    return metric
