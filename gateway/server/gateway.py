"""The gateway as a whole: put together of settings, started, drained and stopped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2_grpc

from gateway.background import background
from gateway.files.watch import FileWatch, needs_restart, summary
from gateway.metrics import Family, Metrics
from gateway.server.composition import circuit_note, open_parts
from gateway.server.connections import count_calls, count_connections, newest_server
from gateway.server.health import HealthServicer
from gateway.server.interceptor import END_TIMEOUT, CallInterceptor
from gateway.server.listening import listen
from gateway.server.lost_answers import count_lost_answers
from gateway.server.options import server_options
from gateway.server.reflection import add_reflection
from gateway.server.servicer import RepoServicer
from gateway.server.standing import StandingCalls
from gateway.server.starting import start_whole
from gateway.server.tls import AllowedCallers, server_tls
from gateway.settings.model import Settings
from gateway.settings.settings_file import Loaded
from gateway.settings.start_line import start_fields
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.admin import Admin
from gateway.telemetry.loop_monitor import LoopMonitor
from gateway.telemetry.observer import Observer
from gateway.telemetry.tracing import open_tracing

_log = logging.getLogger(__name__)

# What keeps a gateway from serving, as /readyz tells it.
STARTING = "starting"
DRAINING = "draining"
NO_TOKEN = "no token from IAM"

# Seconds in which calls that gRPC has accepted reach their servicers.
SETTLED = 0.5


class Gateway:
    """A running gateway, as a context manager: inside it calls are served, and leaving it drains and stops.

    A cancellation, inside or while it drains, ends what is in flight at once.

    Args:
        settings: What to run.
        loaded: The same as they were loaded, where there is a file of theirs to read again.
        shares_port: Whether it is one of several processes that listen on the same ports, which are read as one from
            outside: it answers no operators itself.

    Attributes:
        addresses: What it listens on, with the ports that were chosen for `:0`. Known inside the context.
        admin_address: Where operators are answered; None where they are not.
        drain_delay: Seconds between saying NOT_SERVING and accepting no more calls.
        drain_grace: Seconds that calls in flight have to finish after that.
    """

    def __init__(self, settings: Settings, *, loaded: Loaded | None = None, shares_port: bool = False) -> None:
        self._settings = settings
        self._loaded = loaded
        self._shares_port = shares_port
        self._metrics = Metrics(alone=not shares_port)
        self._standing = StandingCalls()
        self._health = HealthServicer(self._standing)
        self._loop_monitor = LoopMonitor(self._metrics)
        if not shares_port:  # the supervisor knows it of all of them, and when there are none
            self._metrics.watch("ready", "1 while it serves.", lambda: not self.not_ready_reasons())
            # By whoever asks for metrics, in a thread of its own: it is too dear for the event loop.
            self._metrics.watch("connections", "Connections of callers.", count_connections)
        self._file_watch = FileWatch()
        self.addresses: tuple[str, ...] = ()
        self.admin_address: str | None = None
        self.drain_delay, self.drain_grace = settings.drain_delay, settings.drain_grace

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            ListenError: An address cannot be listened on.
            BadFileError: A file that the settings name cannot be used.
            TracingError: OpenTelemetry does not take its variables.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            await self._health.set_not_ready(STARTING, active=True)
            stack.enter_context(count_lost_answers(self._metrics))
            tracing = open_tracing(settings.origin)
            stack.push_async_callback(asyncio.to_thread, tracing.close)
            parts = await open_parts(settings, self._loaded, self._metrics, self._on_token, stack)
            self._policy, self._now = parts.policy, asyncio.get_running_loop().time
            await stack.enter_async_context(background("the heartbeat", self._loop_monitor.run()))
            await self._open_admin(stack)
            authorize = AllowedCallers(settings.tls_allowed_sans).check
            observer = Observer(self._metrics, AccessLog(self._metrics), tracing)
            self._interceptor = CallInterceptor(authorize, observer, self._metrics, settings.write_timeout)
            self._server = grpc.aio.server(
                interceptors=(self._interceptor,), options=server_options(settings, shares_port=self._shares_port)
            )
            self._calls_arrived = partial(count_calls, newest_server())
            self._add_services(RepoServicer(parts.listing, timeout=settings.timeout))
            tls = server_tls(settings, self._metrics)
            self._file_watch.parts = (*parts.with_files, *([tls] if tls else []))
            self.addresses = await listen(self._server, settings.listen, tls)
            stack.push_async_callback(self._end_calls)
            await start_whole(self._server)
            await stack.enter_async_context(background("the watch over files", self._file_watch.run()))
            await self._health.set_not_ready(STARTING, active=False)
            self._resources = stack.pop_all()
        if self._shares_port:
            return self
        operators = f", operators on {self.admin_address}" if self.admin_address else ""
        told = {"fields": start_fields(settings)}
        _log.info("serving on %s, upstream %s%s", ", ".join(self.addresses), settings.origin, operators, extra=told)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not asyncio.CancelledError:  # as when two signals come together
                await self._drain()
        finally:
            await self._resources.aclose()

    async def _drain(self) -> None:
        """Say NOT_SERVING, wait for callers to go elsewhere, accept no more calls, let those in flight finish.

        A cancellation on the way has what is still in flight ended at once.
        """
        _log.info("draining")
        await self.hide()
        await asyncio.sleep(self.drain_delay)
        self._standing.end()
        await self._stop_server()
        _log.info("stopped")

    async def _stop_server(self) -> None:
        """Accept no more calls, and wait for those in flight within the grace; those that last longer are told why.

        gRPC would end those without a word; and it has been seen to wait the whole grace for a call that it never
        handed over, so once nothing is in flight it waits no longer.
        """
        async with self._interceptor.take_up(self._calls_arrived):
            stopping = asyncio.create_task(self._server.stop(self.drain_grace + END_TIMEOUT))
            await asyncio.sleep(0)  # it begins
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.drain_grace
        while not stopping.done() and loop.time() < deadline:
            await asyncio.wait([stopping], timeout=min(SETTLED, deadline - loop.time()))
            if self._interceptor.is_idle:
                break
        await self._end_calls()
        await stopping

    async def hide(self) -> None:
        """Say NOT_SERVING, and go on serving those who come nevertheless."""
        await self._health.set_not_ready(DRAINING, active=True)

    async def _end_calls(self) -> None:
        self._interceptor.end_calls()
        await self._interceptor.wait_for_calls()
        await self._server.stop(None)
        await self._interceptor.wait_for_calls()

    async def _open_admin(self, stack: AsyncExitStack) -> None:
        if self._settings.admin_listen and not self._shares_port:
            admin = Admin(
                self._settings,
                self._metrics.registry,
                problems=self._loop_monitor.problems,
                not_ready_reasons=self.not_ready_reasons,
                notes=self.notes,
            )
            self.admin_address = (await stack.enter_async_context(admin)).address

    async def read_files(self) -> None:
        """Read certificates, keys and secrets again that changed, and log what came of it."""
        looks = await self._file_watch.look()
        is_all = not needs_restart(looks) and all(look.outcome.is_good for look in looks)
        note = "" if self._loaded else "; settings have no file, and are read at the start only"
        _log.log(logging.INFO if is_all else logging.WARNING, "SIGHUP: %s%s", summary(looks), note)

    def counts(self) -> tuple[Family, ...]:
        """Return what was counted and measured."""
        return self._metrics.families()

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Return what keeps the gateway from serving, in words for operators; may be asked for by another thread."""
        return (*self._health.not_ready_reasons, *self._loop_monitor.problems())

    def notes(self) -> tuple[str, ...]:
        """Return what else operators should know.

        A sick upstream is worth a note, and no more: it would take every gateway out of the mesh.
        """
        return (circuit_note(self._policy, self._settings, self._now()),)

    async def _on_token(self, available: bool) -> None:
        await self._health.set_not_ready(NO_TOKEN, active=not available)

    def _add_services(self, servicer: RepoServicer) -> None:
        self._server.add_generic_rpc_handlers((servicer.method_handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._settings.reflection:
            add_reflection(self._server, self._standing)
        if self._settings.channelz:
            channelz.add_channelz_servicer(self._server)
