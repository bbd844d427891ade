"""What both clients are before they are open: whom they call, as whom, and how."""

from __future__ import annotations

import grpc

from swr_gateway_client.channel import Options, channel_options
from swr_gateway_client.progress import LONGEST
from swr_gateway_client.target import check_authority, check_target
from swr_gateway_client.tokens import CALLER_TOKEN, is_token


class Caller:
    """A client's settings, as its docstring tells of them."""

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        wait_for_ready: bool = True,
        tls: grpc.ChannelCredentials | None = None,
        authority: str | None = None,
        options: Options = (),
    ) -> None:
        check_target(target)
        if authority is not None:
            check_authority(authority)
        if token is not None and not is_token(token):
            raise ValueError("the token must be visible ASCII without blanks")
        self._target = target
        self._metadata = () if token is None else ((CALLER_TOKEN, token),)
        self._timeout = timeout
        self._wait_for_ready = wait_for_ready
        self._tls = tls
        self._options = channel_options(target, authority, options)

    def _seconds(self, timeout: float | None) -> float:
        """Return the seconds that a call of `list_repos` may take."""
        return min(self._timeout if timeout is None else timeout, LONGEST)

    def __repr__(self) -> str:
        """Return what it calls, and nothing of the token."""
        return f"{type(self).__name__}({self._target!r})"
