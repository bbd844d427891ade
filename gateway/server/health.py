"""grpc.health.v1: Check and Watch as the library has them, and List, which it lacks."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from gateway.server.servicer import SERVICE_NAME

SERVICES = (health.OVERALL_HEALTH, SERVICE_NAME)


class HealthServicer(health.aio.HealthServicer):
    """Tells whether the gateway serves: not before its port is open, and no more once it drains."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[Any]] = set()
        self._status: int = health_pb2.HealthCheckResponse.NOT_SERVING

    async def announce(self, *, serving: bool) -> None:
        """Tell all who ask or watch whether calls are served."""
        response = health_pb2.HealthCheckResponse
        self._status = response.SERVING if serving else response.NOT_SERVING
        for service in SERVICES:
            await self.set(service, self._status)

    def end_watches(self) -> None:
        """End the calls of those who watch, which have been told and would hold up the stop for the whole grace."""
        for watch in self._watches:
            watch.cancel()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Tell a service's status now and whenever it changes."""
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            await super().Watch(request, context)
        finally:
            self._watches.discard(task)

    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Tell the status of every service at once.

        The stubs of the library do not know the messages: HealthListRequest and HealthListResponse.
        """
        status = health_pb2.HealthCheckResponse(status=self._status)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(SERVICES, status))  # type: ignore[attr-defined]
