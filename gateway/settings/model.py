"""Every setting of the gateway: its name, type, default and meaning.

A field `drain_grace` is the flag `--drain-grace` and the variable `SWR_GATEWAY_DRAIN_GRACE`. What the fields say of
themselves is the help of `swr-gateway serve`, and the table of docs/settings.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, get_args

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from gateway.core.filter import Dialect
from gateway.settings.addresses import Addresses, HttpAddress, Origin, Region
from gateway.settings.log import LogFormat, LogLevel
from gateway.settings.types import (
    CallDuration,
    Count,
    Duration,
    FilePath,
    HeaderText,
    Names,
    Number,
    PositiveDuration,
    Printable,
    Ratio,
    Size,
    Unset,
    Workers,
)

PREFIX = "SWR_GATEWAY_"

TIMEOUT = 15.0
ATTEMPT_TIMEOUT = 5.0
MAX_IN_FLIGHT = 100
PREFETCH = 4
WRITE_TIMEOUT = 60.0


class Auth(StrEnum):
    """How the gateway authenticates to the upstream."""

    NONE = "none"
    PASSTHROUGH = "passthrough"
    TOKEN = "token"
    IAM = "iam"
    AKSK = "aksk"


class Settings(BaseModel):
    """The gateway's settings, checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: Addresses = Field(
        ("127.0.0.1:50051",),
        description="gRPC address: host:port, or unix:/path of 107 bytes at the most; several by comma.",
    )
    admin_listen: Annotated[HttpAddress | None, Unset] = Field(
        "127.0.0.1:9464",
        description="HTTP address of the status page, /metrics, /livez and /readyz: host:port; empty is off.",
    )
    upstream_url: Annotated[Origin | None, Unset] = Field(
        None, description="The upstream: http(s)://host[:port], with no path."
    )
    region: Annotated[Region | None, Unset] = Field(
        None, description="The cloud's region, instead of a URL: https://swr-api.REGION.myhuaweicloud.com."
    )
    dialect: Dialect = Field(
        Dialect.FILTER,
        description="How the upstream wants its filter: filter, as documented; filter-quoted, in the literal quotes of "
        "the reference; query, plain parameters of newer revisions.",
    )
    auth: Auth = Field(
        Auth.PASSTHROUGH,
        description="Credential for the upstream: none; passthrough, the caller's x-auth-token; or the gateway's "
        "own: token, a fixed one; iam, tokens from IAM; aksk, signatures by access key.",
    )
    token: Annotated[SecretStr | None, Unset, HeaderText] = Field(None, description="The token of auth=token.")
    token_file: Annotated[FilePath | None, Unset] = Field(
        None, description="File with the token of auth=token, read again when it changes."
    )
    access_key: Annotated[SecretStr | None, Unset, HeaderText] = Field(
        None,
        description="The access key of auth=aksk. Instead of all three, the variables HUAWEICLOUD_SDK_AK, "
        "HUAWEICLOUD_SDK_SK and HUAWEICLOUD_SDK_SECURITY_TOKEN.",
    )
    secret_key: Annotated[SecretStr | None, Unset, HeaderText] = Field(
        None, description="The secret key of auth=aksk, which signs."
    )
    security_token: Annotated[SecretStr | None, Unset, HeaderText] = Field(
        None, description="What comes with a temporary access key of auth=aksk."
    )
    project_id: Annotated[str | None, Unset, HeaderText] = Field(
        None, description="Project of auth=aksk; without it, the region's own."
    )
    iam_url: Annotated[Origin | None, Unset] = Field(
        None, description="IAM for auth=iam, with no path; without it https://iam.REGION.myhuaweicloud.com."
    )
    iam_username: Annotated[str | None, Unset, Printable] = Field(None, description="IAM user of auth=iam.")
    iam_password: Annotated[SecretStr | None, Unset, Printable] = Field(None, description="That user's password.")
    iam_domain: Annotated[str | None, Unset, Printable] = Field(
        None, description="Name of the account that the user belongs to."
    )
    iam_project: Annotated[str | None, Unset, Printable] = Field(
        None, description="Name of the project that tokens are for; without it, the region."
    )
    timeout: CallDuration = Field(
        TIMEOUT,
        description="Timeout of a call (StreamRepos: of each page) whose caller set no deadline, and the most for one "
        "who did.",
    )
    attempt_timeout: PositiveDuration = Field(
        default_factory=lambda data: min(ATTEMPT_TIMEOUT, data["timeout"]),
        description="Timeout of one upstream request, no longer than --timeout; the default is shorter where that is.",
    )
    retries: Number = Field(2, le=10, description="Most retries of a failed upstream request, within the budget.")
    max_in_flight: Count = Field(MAX_IN_FLIGHT, description="Concurrency limit: upstream requests at once.")
    max_queue: Number = Field(200, description="Calls that may queue for an upstream request at that limit.")
    queue_timeout: PositiveDuration = Field(
        1.0, description="Longest wait in that queue; a credential that has less than its share of requests waits on."
    )
    circuit: bool = Field(
        True, description="Circuit breaker: send nothing for a while to an upstream that keeps failing."
    )
    circuit_ratio: Ratio = Field(
        0.5, description="Failure ratio of upstream requests that opens the circuit breaker, over 0 and up to 1."
    )
    circuit_min_requests: Count = Field(
        20, description="Fewest upstream requests within --circuit-window for it to open."
    )
    circuit_window: PositiveDuration = Field(10.0, description="Time window in which it counts upstream requests.")
    max_response_bytes: Size = Field(
        ByteSize(64 * 2**20), ge=1, description="Largest upstream response body, decompressed."
    )
    prefetch: Count = Field(
        default_factory=lambda data: min(PREFETCH, data["max_in_flight"]),
        description="Pages that StreamRepos fetches ahead, where requests are free; no more than --max-in-flight, "
        "and the default is lower where that is.",
    )
    prefetch_bytes: Size = Field(
        ByteSize(32 * 2**20),
        description="Memory for such pages of all streams, in each worker; with none left a stream fetches one page at "
        "a time.",
    )
    write_timeout: PositiveDuration = Field(
        WRITE_TIMEOUT,
        description="Timeout for a caller to read a reply or a message of a stream, or to send its request; then its "
        "call is ended.",
    )
    cache_ttl: Duration = Field(
        0.0, description="Time for which a reply of ListRepos is cached, for callers with the same rights; 0s is off."
    )
    stale_if_error: Duration = Field(
        0.0, description="Further time for which a cached reply is served while the upstream is unavailable; 0s is off."
    )
    coalesce: bool = Field(
        True,
        description="Coalesce identical calls in flight, of callers with the same rights, into one upstream request.",
    )
    row_memo_bytes: Size = Field(
        ByteSize(32 * 2**20), description="Memory for rows and pages already converted; 0 is off."
    )
    tls_cert: Annotated[FilePath | None, Unset] = Field(
        None, description="The gateway's certificate in PEM, which callers see; read again when it changes."
    )
    tls_key: Annotated[FilePath | None, Unset] = Field(None, description="That certificate's key in PEM.")
    tls_client_ca: Annotated[FilePath | None, Unset] = Field(
        None, description="CA certificates in PEM that callers are verified against: mutual TLS, no caller without one."
    )
    tls_allowed_sans: Names = Field(
        (),
        description="Callers who are let in: DNS names or SPIFFE ids of their certificates, several by comma, "
        "SPIFFE ids also with a trailing *. Without it, every caller that the client CA verifies.",
    )
    upstream_ca: Annotated[FilePath | None, Unset] = Field(
        None,
        description="CA certificates in PEM that the upstream and IAM are verified against, instead of the system's.",
    )
    upstream_client_cert: Annotated[FilePath | None, Unset] = Field(
        None, description="The gateway's certificate in PEM, which the upstream sees."
    )
    upstream_client_key: Annotated[FilePath | None, Unset] = Field(None, description="That certificate's key in PEM.")
    allow_insecure: bool = Field(
        False,
        description="Let callers from the network use the gateway's own credential without mutual TLS, "
        "and send credentials to an http:// upstream.",
    )
    workers: Workers = Field(
        1,
        description="Processes that share the ports, 64 at the most; auto is one for each core that is available (CPU "
        "affinity, quota of cgroup v2). Each has its own limits, cache and IAM token.",
    )
    max_connection_age: Duration = Field(
        0.0, description="Age at which callers are asked to connect anew, which spreads them; 0s is never."
    )
    max_connection_age_grace: Duration = Field(
        600.0,
        description="Time that calls have to finish after that age before their connection is closed; 0s is as long "
        "as they take.",
    )
    max_concurrent_streams: Count = Field(1000, description="Calls at once on one connection; further ones wait.")
    drain_delay: Duration = Field(
        0.0, description="On SIGTERM, time between saying NOT_SERVING and accepting no more calls."
    )
    drain_grace: Duration = Field(
        30.0, description="Time that calls in flight have to finish; a second signal leaves at once."
    )
    reflection: bool = Field(True, description="Serve reflection, for grpcurl and friends.")
    channelz: bool = Field(False, description="Serve channelz, which tells of connections, for grpcdebug and friends.")
    log_level: LogLevel = Field(LogLevel.INFO, description="Least severity to log.")
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="json, one object a line; console, text for people; auto, text where standard error is a terminal, "
        "and else JSON.",
    )

    @property
    def origin(self) -> str:
        """The upstream's scheme, host and port."""
        return self.upstream_url or f"https://swr-api.{self.region}.myhuaweicloud.com"

    @property
    def iam_origin(self) -> str:
        """IAM's scheme, host and port."""
        return self.iam_url or f"https://iam.{self.region}.myhuaweicloud.com"


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in get_args(field.annotation)


# They have no flags, for everyone who can list processes sees flags.
SECRETS = frozenset(name for name, field in Settings.model_fields.items() if _is_secret(field))
