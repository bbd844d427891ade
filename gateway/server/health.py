"""grpc.health.v1: Check as the library has it, List, which it lacks, and a Watch that holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from gateway.core.service import SERVICE_NAME
from gateway.server.standing import StandingCalls

SERVICES = (health.OVERALL_HEALTH, SERVICE_NAME)


class HealthServicer(health.aio.HealthServicer):
    """Tells whether the gateway serves: it does while there is no reason against it.

    Args:
        standing: Ends the calls of those who watch, which have been told before.

    Attributes:
        not_ready_reasons: What keeps the gateway from serving, in words for operators.
    """

    def __init__(self, standing: StandingCalls) -> None:
        super().__init__()
        self._standing = standing
        self._status: int = health_pb2.HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Event()
        self.not_ready_reasons: tuple[str, ...] = ()

    async def set_not_ready(self, reason: str, *, active: bool) -> None:
        """Add or remove a reason, and tell all who ask or watch."""
        others = tuple(other for other in self.not_ready_reasons if other != reason)
        self.not_ready_reasons = (*others, reason) if active else others
        response = health_pb2.HealthCheckResponse
        self._status = response.NOT_SERVING if self.not_ready_reasons else response.SERVING
        for service in SERVICES:
            await self.set(service, self._status)
        self._changed.set()
        self._changed = asyncio.Event()

    async def Watch(  # type: ignore[override] # the stubs take a generator for a coroutine
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell a service's status now and whenever it changes, until the gateway drains.

        The library's own holds a lock while a message is on its way, and a change waits for that: one caller who takes
        no message would keep it from all others, and a drain from its beginning.
        """
        told: int | None = None
        with self._standing.standing():
            while True:
                changed = self._changed
                status = self._status if request.service in SERVICES else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                if status != told:
                    told = status
                    yield health_pb2.HealthCheckResponse(status=status)
                await changed.wait()

    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Tell the status of every service at once.

        The stubs of the library do not know the messages: HealthListRequest and HealthListResponse.
        """
        status = health_pb2.HealthCheckResponse(status=self._status)
        statuses = dict.fromkeys(SERVICES, status)
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # not in the stubs
