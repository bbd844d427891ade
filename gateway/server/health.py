"""grpc.health.v1: Check and Watch as the library has them, and List, which it lacks."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from gateway.core.errors import GATEWAY_DRAINING, GatewayError
from gateway.server.servicer import SERVICE_NAME

SERVICES = (health.OVERALL_HEALTH, SERVICE_NAME)


class HealthServicer(health.aio.HealthServicer):
    """Tells whether the gateway serves: it does where nothing hinders it.

    Attributes:
        hindrances: What keeps the gateway from serving, in words for operators.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[Any]] = set()
        self._watches_end = False
        self._status: int = health_pb2.HealthCheckResponse.NOT_SERVING
        self.hindrances: tuple[str, ...] = ()

    async def hinder(self, hindrance: str, *, hinders: bool) -> None:
        """Begin or end a hindrance, and tell all who ask or watch."""
        others = tuple(other for other in self.hindrances if other != hindrance)
        self.hindrances = (*others, hindrance) if hinders else others
        response = health_pb2.HealthCheckResponse
        self._status = response.NOT_SERVING if self.hindrances else response.SERVING
        for service in SERVICES:
            await self.set(service, self._status)

    def end_watches(self) -> None:
        """End the calls of those who watch, which have been told and would hold up the stop for the whole grace."""
        self._watches_end = True
        for watch in self._watches:
            watch.cancel()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Tell a service's status now and whenever it changes."""
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            await super().Watch(request, context)
        except asyncio.CancelledError:
            if self._watches_end:
                raise GatewayError(GATEWAY_DRAINING) from None
            raise
        finally:
            self._watches.discard(task)

    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Tell the status of every service at once.

        The stubs of the library do not know the messages: HealthListRequest and HealthListResponse.
        """
        status = health_pb2.HealthCheckResponse(status=self._status)
        statuses = dict.fromkeys(SERVICES, status)
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # not in the stubs
