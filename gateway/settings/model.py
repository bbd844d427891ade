"""Every setting of the gateway: its name, type, default and meaning.

A field `drain_grace` is the flag `--drain-grace` and the variable `SWR_GATEWAY_DRAIN_GRACE`. What the fields say of
themselves is the help of `swr-gateway serve`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr

from gateway.core.filter import Dialect
from gateway.settings.types import Addresses, Count, Duration, Origin, PositiveDuration, Region, Size, Unset

PREFIX = "SWR_GATEWAY_"


class Auth(StrEnum):
    """How the gateway signs in to the upstream."""

    NONE = "none"
    PASSTHROUGH = "passthrough"
    TOKEN = "token"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseModel):
    """The gateway's settings, checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: Addresses = Field(
        ("127.0.0.1:50051",), description="gRPC address: host:port or unix:/path, several by comma."
    )
    upstream_url: Annotated[Origin | None, Unset] = Field(
        None, description="The upstream: http(s)://host[:port], with no path."
    )
    region: Annotated[Region | None, Unset] = Field(
        None, description="The cloud's region, instead of a URL: https://swr-api.REGION.myhuaweicloud.com."
    )
    dialect: Dialect = Field(
        Dialect.FILTER,
        description="How the upstream wants its filter: as documented, in literal quotes, or as query parameters.",
    )
    auth: Auth = Field(
        Auth.PASSTHROUGH,
        description="Credential for the upstream: none, the caller's x-auth-token, or the gateway's own token.",
    )
    token: Annotated[SecretStr | None, Unset] = Field(None, description="The token of auth=token.")
    token_file: Annotated[Path | None, Unset] = Field(
        None, description="File with the token of auth=token, read again when it changes."
    )
    timeout: PositiveDuration = Field(
        15.0,
        description="Time of a call, or of a stream's page, without a deadline, and the most with one.",
    )
    attempt_timeout: PositiveDuration = Field(5.0, description="Time of one upstream request.")
    max_in_flight: Count = Field(100, description="Upstream requests at once.")
    max_response_bytes: Size = Field(ByteSize(64 * 2**20), ge=1, description="Largest upstream body, decompressed.")
    prefetch: Count = Field(4, description="Pages that StreamRepos fetches ahead.")
    row_memo_bytes: Size = Field(ByteSize(32 * 2**20), description="Memory for rows already converted; 0 is off.")
    drain_delay: Duration = Field(
        0.0, description="On SIGTERM, time between saying NOT_SERVING and accepting no more calls."
    )
    drain_grace: Duration = Field(30.0, description="Time that calls in flight have to finish.")
    reflection: bool = Field(True, description="Serve reflection, for grpcurl and friends.")
    log_level: LogLevel = Field(LogLevel.INFO, description="Least severity to log.")
    log_format: LogFormat = Field(LogFormat.JSON, description="One JSON object a line, or text for people.")

    @property
    def origin(self) -> str:
        """The upstream's scheme, host and port."""
        return self.upstream_url or f"https://swr-api.{self.region}.myhuaweicloud.com"
