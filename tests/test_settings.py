"""The settings: their three sources, their types, and how they are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gateway.cli.main import main
from gateway.cli.serve import command as serve
from gateway.core.filter import Dialect
from gateway.settings import model
from gateway.settings.cores import available_cores
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.log import LogFormat, LogLevel
from gateway.settings.model import Auth, Settings
from gateway.settings.names import flag, variable

CANARY = "canary-4711"
UPSTREAM = {"upstream_url": "http://127.0.0.1:1"}

SAMPLES: dict[str, tuple[str, Any]] = {
    "listen": ("[::1]:0,127.0.0.1:7000", ("[::1]:0", "127.0.0.1:7000")),
    "admin_listen": ("[::1]:0", "[::1]:0"),
    "upstream_url": ("https://swr.example:8443", "https://swr.example:8443"),
    "region": ("ap-southeast-1", "ap-southeast-1"),
    "dialect": ("filter-quoted", Dialect.FILTER_QUOTED),
    "auth": ("none", Auth.NONE),
    "token": (CANARY, SecretStr(CANARY)),
    "token_file": ("/etc/gateway/token", Path("/etc/gateway/token")),
    "access_key": ("AK", SecretStr("AK")),
    "secret_key": (CANARY, SecretStr(CANARY)),
    "security_token": (CANARY, SecretStr(CANARY)),
    "project_id": ("0a1b", "0a1b"),
    "iam_url": ("https://iam.example:8443/", "https://iam.example:8443"),
    "iam_username": ("robot 机器人", "robot 机器人"),
    "iam_password": (f"{CANARY} two words", SecretStr(f"{CANARY} two words")),
    "iam_domain": ("company", "company"),
    "iam_project": ("cn-north-4_team", "cn-north-4_team"),
    "timeout": ("2m", 120.0),
    "attempt_timeout": ("250ms", 0.25),
    "retries": ("0", 0),
    "max_in_flight": ("7", 7),
    "max_queue": ("0", 0),
    "queue_timeout": ("250ms", 0.25),
    "circuit": ("false", False),
    "circuit_ratio": ("0.25", 0.25),
    "circuit_min_requests": ("5", 5),
    "circuit_window": ("30s", 30.0),
    "max_response_bytes": ("512KiB", 512 * 1024),
    "prefetch": ("6", 6),
    "prefetch_bytes": ("1MiB", 2**20),
    "write_timeout": ("1m", 60.0),
    "cache_ttl": ("1m", 60.0),
    "stale_if_error": ("1h", 3600.0),
    "coalesce": ("false", False),
    "row_memo_bytes": ("0", 0),
    "tls_cert": ("cert.pem", Path("cert.pem")),
    "tls_key": ("key.pem", Path("key.pem")),
    "tls_client_ca": ("ca.pem", Path("ca.pem")),
    "tls_allowed_sans": ("a.example, spiffe://corp/ns/*", ("a.example", "spiffe://corp/ns/*")),
    "upstream_ca": ("ca.pem", Path("ca.pem")),
    "upstream_client_cert": ("cert.pem", Path("cert.pem")),
    "upstream_client_key": ("key.pem", Path("key.pem")),
    "allow_insecure": ("true", True),
    "workers": ("2", 2),
    "max_connection_age": ("5m", 300.0),
    "max_connection_age_grace": ("1m", 60.0),
    "max_concurrent_streams": ("9", 9),
    "drain_delay": ("1.5s", 1.5),
    "drain_grace": ("1h", 3600.0),
    "reflection": ("false", False),
    "channelz": ("true", True),
    "log_level": ("debug", LogLevel.DEBUG),
    "log_format": ("console", LogFormat.CONSOLE),
}
SECRETS = {"token", "access_key", "secret_key", "security_token", "iam_password"}

# What some settings need beside them.
TOGETHER = {
    "tls_cert": ["tls_key"],
    "tls_key": ["tls_cert"],
    "tls_client_ca": ["tls_cert", "tls_key"],
    "tls_allowed_sans": ["tls_client_ca", "tls_cert", "tls_key"],
    "upstream_client_cert": ["upstream_client_key"],
    "upstream_client_key": ["upstream_client_cert"],
}

each_setting = pytest.mark.parametrize("name", Settings.model_fields)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(("SWR_GATEWAY_", "HUAWEICLOUD_SDK_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def problems_of(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(flags or {}, config)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates that the samples name."""
    folder = tmp_path_factory.mktemp("pems")
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    cert.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    cert.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture
def in_pems(pems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pems)


def company_of(name: str) -> dict[str, str]:
    """What a setting needs beside it: an upstream where it names none, and its other half."""
    upstream = {} if name in ("upstream_url", "region") else UPSTREAM
    return upstream | {other: SAMPLES[other][0] for other in TOGETHER.get(name, ())}


def check_config(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-config", *arguments])


def test_defaults() -> None:
    assert dict(load_settings({"region": "cn-north-4"})) == {
        "listen": ("127.0.0.1:50051",),
        "admin_listen": "127.0.0.1:9464",
        "upstream_url": None,
        "region": "cn-north-4",
        "dialect": "filter",
        "auth": "passthrough",
        "token": None,
        "token_file": None,
        "access_key": None,
        "secret_key": None,
        "security_token": None,
        "project_id": None,
        "iam_url": None,
        "iam_username": None,
        "iam_password": None,
        "iam_domain": None,
        "iam_project": None,
        "timeout": 15.0,
        "attempt_timeout": 5.0,
        "retries": 2,
        "max_in_flight": 100,
        "max_queue": 200,
        "queue_timeout": 1.0,
        "circuit": True,
        "circuit_ratio": 0.5,
        "circuit_min_requests": 20,
        "circuit_window": 10.0,
        "max_response_bytes": 64 * 1024 * 1024,
        "prefetch": 4,
        "prefetch_bytes": 32 * 1024 * 1024,
        "write_timeout": 60.0,
        "cache_ttl": 0.0,
        "stale_if_error": 0.0,
        "coalesce": True,
        "row_memo_bytes": 32 * 1024 * 1024,
        "tls_cert": None,
        "tls_key": None,
        "tls_client_ca": None,
        "tls_allowed_sans": (),
        "upstream_ca": None,
        "upstream_client_cert": None,
        "upstream_client_key": None,
        "allow_insecure": False,
        "workers": 1,
        "max_connection_age": 0.0,
        "max_connection_age_grace": 600.0,
        "max_concurrent_streams": 1000,
        "drain_delay": 0.0,
        "drain_grace": 30.0,
        "reflection": True,
        "channelz": False,
        "log_level": "info",
        "log_format": "auto",
    }


def test_every_setting_has_a_sample_here() -> None:
    assert SAMPLES.keys() == Settings.model_fields.keys()


def test_secrets_are_known() -> None:
    assert model.SECRETS == SECRETS


@pytest.mark.parametrize(
    ("name", "its_flag", "its_variable"),
    [
        ("listen", "--listen", "SWR_GATEWAY_LISTEN"),
        ("max_in_flight", "--max-in-flight", "SWR_GATEWAY_MAX_IN_FLIGHT"),
    ],
)
def test_names_follow_from_the_setting(name: str, its_flag: str, its_variable: str) -> None:
    assert (flag(name), variable(name)) == (its_flag, its_variable)


@each_setting
def test_help_names_every_setting_and_secrets_have_no_flag(name: str) -> None:
    assert isinstance(serve, click.Command)
    helps = {text: option.help for option in serve.params if isinstance(option, click.Option) for text in option.opts}
    assert (flag(name) not in helps) == (name in SECRETS)
    if name in SECRETS:
        assert variable(name) in (serve.help or "")
    else:
        assert (helps[flag(name)] or "").startswith(Settings.model_fields[name].description or "no description")
        assert f"[{variable(name)}]" in (helps[flag(name)] or "")


@each_setting
@pytest.mark.usefixtures("in_pems")
def test_a_setting_comes_from_a_flag(name: str) -> None:
    text, value = SAMPLES[name]
    assert getattr(load_settings({**company_of(name), name: text}), name) == value


@each_setting
@pytest.mark.usefixtures("in_pems")
def test_a_setting_comes_from_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = SAMPLES[name]
    monkeypatch.setenv(variable(name), text)
    assert getattr(load_settings(company_of(name)), name) == value


@each_setting
@pytest.mark.usefixtures("in_pems")
def test_a_setting_comes_from_the_file(name: str, file: Path) -> None:
    text, value = SAMPLES[name]
    file.write_text(f"{name} = {json.dumps(text)}\n", encoding="utf-8")
    assert getattr(load_settings(company_of(name), file), name) == value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        pytest.param("timeout = 20", "timeout", 20.0, id="seconds"),
        pytest.param("timeout = 0.5", "timeout", 0.5, id="part of a second"),
        pytest.param("\ufefftimeout = 20", "timeout", 20.0, id="mark of an editor"),
        pytest.param("max_in_flight = 3", "max_in_flight", 3, id="number"),
        pytest.param("row_memo_bytes = 4096", "row_memo_bytes", 4096, id="bytes"),
        pytest.param("reflection = false", "reflection", False, id="switch"),
        pytest.param('listen = ["a:1", "b:2"]', "listen", ("a:1", "b:2"), id="array"),
    ],
)
def test_the_file_can_use_tomls_own_types(line: str, name: str, value: object, file: Path) -> None:
    file.write_text(line, encoding="utf-8")
    assert getattr(load_settings(UPSTREAM, file), name) == value


@pytest.mark.parametrize(
    ("sources", "value"),
    [
        ({"file"}, 1.0),
        ({"variable"}, 2.0),
        ({"flag"}, 3.0),
        ({"file", "variable"}, 2.0),
        ({"file", "flag"}, 3.0),
        ({"variable", "flag"}, 3.0),
        ({"file", "variable", "flag"}, 3.0),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else "",
)
def test_flags_win_over_variables_over_the_file(
    sources: set[str], value: float, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('timeout = "1s"' if "file" in sources else "", encoding="utf-8")
    if "variable" in sources:
        monkeypatch.setenv("SWR_GATEWAY_TIMEOUT", "2s")
    assert load_settings(UPSTREAM | ({"timeout": "3s"} if "flag" in sources else {}), file).timeout == value


def test_a_bad_value_that_a_better_source_covers_does_no_harm(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('timeout = "soon"', encoding="utf-8")
    monkeypatch.setenv("SWR_GATEWAY_TIMEOUT", "later")
    assert load_settings({**UPSTREAM, "timeout": "3s"}, file).timeout == 3.0


def test_an_empty_variable_unsets_what_the_file_has(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('upstream_url = "https://file"', encoding="utf-8")
    monkeypatch.setenv("SWR_GATEWAY_UPSTREAM_URL", "")
    assert load_settings({"region": "cn-north-4"}, file).upstream_url is None


def test_a_variable_names_the_file_and_the_flag_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("variable", "flag"):
        (tmp_path / name).write_text(f'upstream_url = "https://{name}"', encoding="utf-8")
    monkeypatch.setenv("SWR_GATEWAY_CONFIG", str(tmp_path / "variable"))
    assert load_settings({}).upstream_url == "https://variable"
    assert load_settings({}, tmp_path / "flag").upstream_url == "https://flag"


def test_all_problems_are_told_at_once_each_with_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('max_in_flight = 0\nlog_level = "loud"\ntimeuot = "1s"\ntimeout = "soon"\n', encoding="utf-8")
    monkeypatch.setenv("SWR_GATEWAY_DIALECT", "klingon")
    monkeypatch.setenv("SWR_GATEWAY_REGION", "../etc")
    monkeypatch.setenv("SWR_GATEWAY_ATTEMPT_TIMOUT", "1s")
    monkeypatch.setenv("SWR_GATEWAY_TIMEOUT", "soon")
    problems = problems_of({"listen": "nowhere", "timeout": "soon", "auth": "token"}, file)
    assert sorted(problem.partition(": ")[0] for problem in problems) == [
        "--auth",
        "--listen",
        "--timeout",
        "SWR_GATEWAY_ATTEMPT_TIMOUT",
        "SWR_GATEWAY_DIALECT",
        "SWR_GATEWAY_REGION",
        f"log_level in {file}",
        f"max_in_flight in {file}",
        f"timeuot in {file}",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SWR_GATEWAY_TIMOUT", "SWR_GATEWAY_TIMEOUT"),
        ("SWR_GATEWAY_UPSTREAMURL", "SWR_GATEWAY_UPSTREAM_URL"),
        ("SWR_GATEWAY_LOGLEVEL", "SWR_GATEWAY_LOG_LEVEL"),
        ("SWR_GATEWAY_CONFG", "SWR_GATEWAY_CONFIG"),
        ("SWR_GATEWAY_TARGT", "SWR_GATEWAY_TARGET"),
        ("SWR_GATEWAY_TARGET_TOKN", "SWR_GATEWAY_TARGET_TOKEN"),
        ("SWR_GATEWAY_UPSTREAM", "SWR_GATEWAY_UPSTREAM_URL or SWR_GATEWAY_UPSTREAM_CA"),
        ("swr_gateway_timeout", "SWR_GATEWAY_TIMEOUT"),
    ],
)
def test_a_misspelt_variable_is_refused_with_a_suggestion(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, CANARY)
    assert problems_of(UPSTREAM) == [f"{name}: there is no such setting; did you mean {meant}?"]


def test_the_target_of_the_list_command_is_no_misspelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWR_GATEWAY_TARGET", "gateway.example:50051")
    assert load_settings(UPSTREAM) == Settings.model_validate(UPSTREAM)


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_misspellings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "SWR_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "SWR_GATEWAY_ADMIN_SERVICE_HOST": "10.0.0.2",
        "SWR_GATEWAY_ADMIN_PORT": "tcp://10.0.0.2:9464",
        "SWR_GATEWAY_SERVICE_PORT": "50051",
        "SWR_GATEWAY_SERVICE_PORT_GRPC": "50051",
        "SWR_GATEWAY_PORT": "tcp://10.0.0.1:50051",
        "SWR_GATEWAY_PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "SWR_GATEWAY_PORT_50051_TCP_PROTO": "tcp",
        "SWR_GATEWAY_PORT_50051_TCP_PORT": "50051",
        "SWR_GATEWAY_PORT_50051_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings(UPSTREAM) == Settings.model_validate(UPSTREAM)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("timeuot", "timeout"),
        ("drain-grace", "drain_grace"),
        ("TIMEOUT", "timeout"),
        ("SWR_GATEWAY_TIMEOUT", "timeout"),
        ("upstream", "upstream_url or upstream_ca"),
        ("secretkey", "secret_key"),
    ],
)
def test_a_misspelt_key_of_the_file_is_refused_with_a_suggestion(name: str, meant: str, file: Path) -> None:
    file.write_text(f'{name} = "1s"', encoding="utf-8")
    assert problems_of(UPSTREAM, file) == [f"{name} in {file}: there is no such setting; did you mean {meant}?"]


@pytest.mark.parametrize("name", ["settings", "config", "_env_prefix", "x"])
def test_an_unknown_key_of_the_file_is_refused(name: str, file: Path) -> None:
    file.write_text(f'{name} = "1s"', encoding="utf-8")
    assert problems_of(UPSTREAM, file) == [f"{name} in {file}: there is no such setting"]


@each_setting
@pytest.mark.usefixtures("in_pems")
def test_a_value_of_another_type_is_a_problem_of_its_setting(name: str, file: Path) -> None:
    file.write_text(f'{name} = {{ "a" = 1 }}', encoding="utf-8")
    (problem,) = problems_of(company_of(name), file)
    assert problem.startswith(f"{name} in {file}: ")
    assert "<class" not in problem
    assert "tuple" not in problem


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('retries = "x"', "retries in {}: must be a whole number"),
        ("max_queue = 1.5", "max_queue in {}: must be a whole number"),
        ('circuit_ratio = "x"', "circuit_ratio in {}: must be a number"),
        ('circuit = "maybe"', "circuit in {}: must be true or false"),
        ("region = 3", "region in {}: must be text"),
    ],
)
def test_what_a_value_of_another_type_should_be_is_said_in_words_for_operators(
    given: str, told: str, file: Path
) -> None:
    file.write_text(given)
    assert told.format(file) in problems_of({}, file)


def test_a_token_file_of_another_type_is_a_problem_with_auth_token_too(file: Path) -> None:
    file.write_text('token_file = { "a" = 1 }', encoding="utf-8")
    assert any(problem.startswith(f"token_file in {file}: ") for problem in problems_of({"auth": "token"}, file))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "cannot read", id="not there"),
        pytest.param(b"timeout = ", "is not TOML", id="not TOML"),
        pytest.param(b"a = 1\na = 2", "is not TOML", id="key given twice"),
        pytest.param(b"\xff\xfe", "is not UTF-8", id="not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem_beside_others(content: bytes | None, says: str, file: Path) -> None:
    if content is not None:
        file.write_bytes(content)
    first, second = problems_of({**UPSTREAM, "timeout": "soon"}, file)
    assert first.startswith("--config: ")
    assert str(file) in first
    assert says in first
    assert second.startswith("--timeout: ")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert problems_of(UPSTREAM, tmp_path) == [f"--config: cannot read {tmp_path}: Is a directory"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("500ms", 0.5), ("15s", 15.0), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0), (" 1s ", 1.0)],
)
def test_duration(text: str, seconds: float) -> None:
    assert load_settings({**UPSTREAM, "drain_grace": text}).drain_grace == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "15", "s", "-1s", "+1s", "1 s", "1S", "1d", "1e3s", "1,5s", ".5s", "1.s", "1m30s", "infs", "nan", "\u0661s"],
)
def test_what_is_no_duration(text: str) -> None:
    assert problems_of({**UPSTREAM, "drain_grace": text}) == [
        "--drain-grace: must be a duration such as 500ms, 15s or 2m"
    ]


@pytest.mark.parametrize("number", ["-1", "-0.5", "nan", "inf", "-inf", "true", "1979-05-27"])
def test_what_is_no_duration_in_the_file(number: str, file: Path) -> None:
    file.write_text(f"drain_grace = {number}", encoding="utf-8")
    (problem,) = problems_of(UPSTREAM, file)
    assert problem.startswith(f"drain_grace in {file}: ")


def test_a_duration_too_long_for_a_number_is_refused() -> None:
    assert problems_of({**UPSTREAM, "drain_grace": "9" * 400 + "s"})


@pytest.mark.parametrize("name", ["timeout", "attempt_timeout", "queue_timeout", "circuit_window"])
def test_no_time_at_all_is_no_timeout(name: str) -> None:
    assert problems_of({**UPSTREAM, name: "0s"}) == [f"{flag(name)}: must be longer than 0s"]


@pytest.mark.parametrize("name", ["drain_delay", "drain_grace"])
def test_a_drain_may_take_no_time(name: str) -> None:
    assert getattr(load_settings({**UPSTREAM, name: "0s"}), name) == 0.0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("1B", 1),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1.5KiB", 1536),
        ("64MiB", 64 * 2**20),
        ("64mib", 64 * 2**20),
        ("64 MiB", 64 * 2**20),
        ("2GiB", 2 * 2**30),
        ("1TiB", 2**40),
    ],
)
def test_size(text: str, size: int) -> None:
    assert load_settings({**UPSTREAM, "max_response_bytes": text}).max_response_bytes == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e6", "1QB", "1,5KiB", "0x10", "64 Mi B", "64Mi", "\u0661"])
def test_what_is_no_size(text: str) -> None:
    assert problems_of({**UPSTREAM, "row_memo_bytes": text}) == [
        "--row-memo-bytes: must be a size such as 65536, 512KiB or 64MiB"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_response_bytes", "0"),
        ("prefetch", "0"),
        ("max_concurrent_streams", "0"),
        ("max_in_flight", "0"),
        ("max_in_flight", "-1"),
        ("max_in_flight", "many"),
        ("circuit_min_requests", "0"),
        ("circuit_ratio", "0"),
        ("circuit_ratio", "1.01"),
        ("circuit_ratio", "-0.5"),
        ("circuit_ratio", "nan"),
        ("circuit_ratio", "inf"),
        ("circuit_ratio", "half"),
        ("circuit_ratio", ""),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(name: str, value: str) -> None:
    (problem,) = problems_of({**UPSTREAM, name: value})
    assert problem.startswith(f"{flag(name)}: must be ")


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:50051",
        "0.0.0.0:0",
        "localhost:65535",
        "gateway.example:1",
        "[::1]:50051",
        "[::]:0",
        "unix:/run/gateway.sock",
        "unix:///run/gateway.sock",
        "127.0.0.1:2, [::1]:2, unix:/a",
    ],
)
def test_addresses(text: str) -> None:
    assert load_settings({**UPSTREAM, "listen": text}).listen == tuple(text.split(", "))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "50051",
        ":50051",
        "localhost",
        "localhost:",
        "localhost:grpc",
        "localhost:65536",
        "localhost:-1",
        "::1:50051",
        "http://localhost:1",
        "localhost:1/path",
        "local host:1",
        "unix:",
        "unix:run/gateway.sock",
        "/run/gateway.sock",
        "a:1,",
        "a:1,,b:2",
        "a:1,b",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert problems_of({**UPSTREAM, "listen": text}) == ["--listen: must be host:port or unix:/path, several by comma"]


def test_a_gateway_that_listens_nowhere_is_refused(file: Path) -> None:
    file.write_text("listen = []", encoding="utf-8")
    (problem,) = problems_of(UPSTREAM, file)
    assert problem.startswith(f"listen in {file}: ")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://swr-api.cn-north-4.myhuaweicloud.com", "https://swr-api.cn-north-4.myhuaweicloud.com"),
        ("https://swr.example/", "https://swr.example"),
        ("HTTPS://swr.example", "https://swr.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://under_score", "https://under_score"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    assert load_settings({"upstream_url": url}).origin == origin


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://host/v2", id="path"),
        pytest.param("http://host//", id="path of slashes"),
        pytest.param("http://host?a=b", id="query"),
        pytest.param("http://host/?a=b", id="query behind a slash"),
        pytest.param("http://host#a", id="fragment"),
        pytest.param("http://user@host", id="user"),
        pytest.param("http://user:word@host", id="user and password"),
        pytest.param("http://:word@host", id="password"),
        pytest.param("ftp://host", id="other scheme"),
        pytest.param("host", id="no scheme"),
        pytest.param("host:8080", id="host and port"),
        pytest.param("//host", id="no scheme but slashes"),
        pytest.param("http://", id="no host"),
        pytest.param("http://:80", id="only a port"),
        pytest.param("http://host:0", id="port 0"),
        pytest.param("http://host:65536", id="port too high"),
        pytest.param("http://host:http", id="port in letters"),
        pytest.param("http://[::1", id="open bracket"),
        pytest.param("http://[host]", id="name in brackets"),
        pytest.param("http://[127.0.0.1]", id="address of IPv4 in brackets"),
        pytest.param("http://[:::::]", id="too many colons in brackets"),
        pytest.param("http://ho st", id="blank in the host"),
        pytest.param("http://host\\path", id="backslash"),
        pytest.param("http://höst", id="not ASCII"),
    ],
)
def test_what_is_no_origin(url: str) -> None:
    assert problems_of({"upstream_url": url}) == [
        "--upstream-url: must be http(s)://host[:port], with no path, query or credentials"
    ]


def test_a_region_stands_for_its_origin() -> None:
    assert load_settings({"region": "cn-north-4"}).origin == "https://swr-api.cn-north-4.myhuaweicloud.com"


@pytest.mark.parametrize(
    "region",
    ["CN-NORTH-4", "cn_north_4", "cn-north-4.evil.example", "a/b", "a@b", "a:1", "-a", "a-", "a--b", " a", "ä"],
)
def test_what_is_no_region(region: str) -> None:
    assert problems_of({"region": region}) == ["--region: must be a region such as cn-north-4"]


def test_an_upstream_is_needed() -> None:
    (problem,) = problems_of({"upstream_url": "", "region": ""})
    for name in ("upstream_url", "region"):
        assert flag(name) in problem
        assert variable(name) in problem


def test_upstream_url_and_region_exclude_each_other() -> None:
    (problem,) = problems_of({"upstream_url": "https://host", "region": "cn-north-4"})
    assert "--upstream-url" in problem
    assert "--region" in problem


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(CANARY, encoding="ascii")
    return path


def test_auth_token_takes_a_token() -> None:
    settings = load_settings({**UPSTREAM, "auth": "token", "token": CANARY})
    assert settings.token is not None
    assert settings.token.get_secret_value() == CANARY


def test_auth_token_takes_a_file(token_file: Path) -> None:
    assert load_settings({**UPSTREAM, "auth": "token", "token_file": str(token_file)}).token_file == token_file


@pytest.mark.parametrize("source", ["variable", "file"])
@pytest.mark.parametrize(
    ("name", "value", "auth"),
    [("region", "cn-north-4", "none"), ("token", "two words", "token"), ("token_file", "/nowhere/token", "token")],
)
def test_a_contradiction_names_the_place_where_its_part_was_given(
    name: str, value: str, auth: str, source: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f'{name} = "{value}"' if source == "file" else "", encoding="utf-8")
    if source == "variable":
        monkeypatch.setenv(variable(name), value)
    (problem,) = problems_of({**UPSTREAM, "auth": auth}, file)
    assert (variable(name) if source == "variable" else f"{name} in {file}") in problem


def test_settings_are_frozen() -> None:
    settings = load_settings(UPSTREAM)
    with pytest.raises(ValidationError, match="frozen"):
        settings.timeout = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_output_shows_a_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), CANARY)
    settings = load_settings(UPSTREAM)
    checked = check_config("--upstream-url", "https://host")
    assert getattr(settings, name) == SecretStr(CANARY)
    assert checked.exit_code == 0
    assert f'\n# {name} = "***' in checked.output
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        checked.output,
    ):
        assert CANARY not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("token", f"{CANARY} two words", id="token with blanks"),
        pytest.param("token", [CANARY], id="token of another type"),
        pytest.param("secret_key", f"{CANARY} two words", id="key with blanks"),
        pytest.param("iam_password", [CANARY], id="password of another type"),
        pytest.param("iam_url", f"https://user:{CANARY}@host", id="password in the URL of IAM"),
        pytest.param("project_id", f"{CANARY} two words", id="token as a project"),
        pytest.param("tls_allowed_sans", f"*{CANARY}", id="token as a name"),
        pytest.param("admin_listen", CANARY, id="token as an address"),
        pytest.param("upstream_url", f"http://user:{CANARY}@host", id="password in the URL"),
        pytest.param("upstream_url", f"http://user:{CANARY}\u2100@host", id="password in a URL of odd characters"),
        pytest.param("upstream_url", f"http://{CANARY}:x@host:x", id="user in a URL with a bad port"),
        pytest.param("upstream_url", f"http://[{CANARY}]", id="bad address"),
        pytest.param("timeout", CANARY, id="token as a duration"),
        pytest.param("auth", CANARY, id="token as a choice"),
        pytest.param("region", CANARY.upper(), id="token as a region"),
        pytest.param("max_in_flight", CANARY, id="token as a number"),
        pytest.param("row_memo_bytes", CANARY, id="token as a size"),
        pytest.param("reflection", CANARY, id="token as a switch"),
    ],
)
def test_no_problem_shows_the_value(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"auth": "token", **company_of(name), name: value})
    assert CANARY.lower() not in f"{raised.value!r} {raised.value.problems}".lower()


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param({}, id="defaults"),
        pytest.param({name: text for name, (text, _) in SAMPLES.items() if name not in {"region", *SECRETS}}, id="all"),
        pytest.param({"admin_listen": ""}, id="off by an empty text"),
        pytest.param({"token_file": '/tmp/a "b"\\c\'\u00e9\u4ed3\t#'}, id="odd path"),
        pytest.param({"timeout": "1.2345678s", "attempt_timeout": "0.1234567ms"}, id="durations of many digits"),
        pytest.param({"timeout": "99999.5s", "drain_grace": "300h"}, id="long durations"),
        pytest.param({"attempt_timeout": "0.00001ms"}, id="short duration"),
        pytest.param({"timeout": "249999h", "attempt_timeout": "0.53749231ms"}, id="extreme durations"),
        pytest.param({"max_response_bytes": "1000001", "row_memo_bytes": "1.5KiB"}, id="odd sizes"),
        pytest.param({"max_response_bytes": "3TiB", "row_memo_bytes": "64MB"}, id="large sizes"),
    ],
)
@pytest.mark.usefixtures("in_pems")
def test_what_check_config_prints_is_a_file_with_the_same_settings(flags: Mapping[str, str], file: Path) -> None:
    given = {**UPSTREAM, **flags}
    switches = {
        "circuit": "--no-circuit",
        "coalesce": "--no-coalesce",
        "reflection": "--no-reflection",
        "allow_insecure": "--allow-insecure",
        "channelz": "--channelz",
    }
    checked = check_config(*(switches.get(name, f"{flag(name)}={text}") for name, text in given.items()))
    assert checked.exit_code == 0, checked.output
    file.write_text(checked.output, encoding="utf-8")
    assert load_settings({}, file) == load_settings(given)


def test_check_config_prints_every_setting() -> None:
    output = check_config("--region", "cn-north-4").output
    assert {line.lstrip("# ").split()[0] for line in output.splitlines()} == Settings.model_fields.keys()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("timeout = 1\nregion = cn-north-4\n", "line 2, column 10: is not TOML: Invalid value", id="value"),
        pytest.param("\n\nlisten = [1", "line 3, column 12: is not TOML: Unclosed array", id="array"),
        pytest.param('a = "' + CANARY, "line 1, column 17: is not TOML: Unterminated string", id="string"),
        pytest.param(
            "timeout", "line 1, column 8: is not TOML: Expected '=' after a key in a key/value pair", id="key"
        ),
        pytest.param("a = 1\na = 2\n", "line 2, column 6: is not TOML: Cannot overwrite a value", id="key given twice"),
        pytest.param(f"[{CANARY}]\n[{CANARY}]\n", f"line 2, column {len(CANARY) + 2}: is not TOML", id="table twice"),
        pytest.param(f'a = {{"{CANARY}"=1,"{CANARY}"=2}}\n', "is not TOML", id="name of a secret"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line_and_column(content: str, says: str, file: Path) -> None:
    file.write_text(content, encoding="utf-8")
    (problem,) = problems_of({}, file)
    assert problem.startswith(f"--config: {file}, line ")
    assert problem.endswith(says)
    assert CANARY not in problem


def test_what_is_not_utf_8_is_told_with_its_line_and_column(file: Path) -> None:
    file.write_bytes('# ä\nregion = "Ä'.encode() + b"\xe4")
    assert problems_of({}, file) == [f"--config: {file}, line 2, column 12: is not UTF-8"]


@pytest.mark.parametrize("content", ["a = " + "[" * 100_000, "a = " + "9" * 10_000], ids=["nested", "long number"])
def test_toml_that_python_refuses_is_a_problem_like_others(content: str, file: Path) -> None:
    file.write_text(content, encoding="utf-8")
    assert problems_of({}, file) == [f"--config: {file}: holds a number that is too long, or is nested too deep"]


def test_a_bad_file_is_a_problem_of_the_variable_that_named_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWR_GATEWAY_CONFIG", str(file))
    assert problems_of() == [f"SWR_GATEWAY_CONFIG: cannot read {file}: No such file or directory"]


# Hosts

BAD_NAME = "the host must be a name whose labels, between its dots, have 1 to 63 characters, and 253 in all"
BAD_NUMBERS = "the host must be a name, or an IP address such as 127.0.0.1"
HOSTS = {"upstream_url": "https://{}", "iam_url": "https://{}:8443", "listen": "{}:1", "admin_listen": "{}:1"}
each_host = pytest.mark.parametrize(("name", "text"), HOSTS.items(), ids=HOSTS)


@each_host
@pytest.mark.parametrize(
    "host",
    ["swr..example", ".swr", "swr..", f"{'a' * 64}.example", f"swr.{'a' * 64}", ".".join(["a" * 60] * 5)],
    ids=["empty label", "empty first label", "two dots at the end", "long label", "long last label", "long name"],
)
def test_a_host_name_that_the_resolver_breaks_down_on_is_refused(name: str, text: str, host: str) -> None:
    flags = {**UPSTREAM, name: text.format(host)}
    assert problems_of(flags) == [f"{flag(name)}: {BAD_NAME}"]


@each_host
@pytest.mark.parametrize("host", ["1.2.3", "127.1", "2130706433", "0x7f000001", "010.0.0.1", "999.0.0.1", "127.0.0.1."])
def test_numbers_that_resolvers_read_as_another_address_are_refused(name: str, text: str, host: str) -> None:
    assert problems_of({**UPSTREAM, name: text.format(host)}) == [f"{flag(name)}: {BAD_NUMBERS}"]


@each_host
@pytest.mark.parametrize(
    "host", [f"{'a' * 63}.example", ".".join(["a" * 62] * 4), "swr.example.", "1.example", "a.1", "0xg", "-a-", "_"]
)
def test_host_names(name: str, text: str, host: str) -> None:
    shown = load_settings({**UPSTREAM, name: text.format(host)}).model_dump(mode="json")
    assert shown[name] == text.format(host)


@given(st.from_regex(r"[a-z0-9._-]{1,70}", fullmatch=True) | st.lists(st.just("a" * 50)).map(".".join))
def test_whatever_host_passes_is_one_that_pythons_resolver_takes(host: str) -> None:
    try:
        Settings.model_validate({"upstream_url": f"http://{host}"})
    except ValidationError:
        return
    assert host.encode("idna")


def test_a_region_is_one_label_of_a_host() -> None:
    longest = "a" * 63
    assert load_settings({"region": longest}).origin == f"https://swr-api.{longest}.myhuaweicloud.com"
    assert problems_of({"region": longest + "a"}) == ["--region: must be a region such as cn-north-4"]


# Socket files


def path_of(length: int, prefix: str) -> str:
    return prefix + "/" + "s" * (length - 1 - len(prefix.removeprefix("unix:")))


@pytest.mark.parametrize("prefix", ["unix:", "unix://"])
def test_a_socket_path_is_as_long_as_the_system_takes(prefix: str) -> None:
    longest = path_of(107, prefix)
    assert load_settings({**UPSTREAM, "listen": longest}).listen == (longest,)
    for too_long in (longest + "s", longest[:-1] + "ä"):
        assert problems_of({**UPSTREAM, "listen": too_long}) == [
            "--listen: a unix:/path may have 107 bytes, which is what the system takes"
        ]


@pytest.mark.parametrize("character", ["#", "?", "%", "%41", ",", "\t", "\n", "\0", "\x7f"])
def test_a_socket_path_that_grpc_reads_as_something_else_is_refused(character: str, file: Path) -> None:
    file.write_text(f"listen = [{json.dumps(f'unix:/run/a{character}b')}]\n".replace("\x7f", "\\u007f"))
    assert problems_of(UPSTREAM, file) == [
        f"listen in {file}: a unix:/path must not hold #, ?, %, a comma or a control character: gRPC reads it as a URI"
    ]


@pytest.mark.parametrize("address", ["unix://run/s", "unix:/", "unix:/run/", "unix:////"])
def test_what_is_no_socket_path(address: str) -> None:
    assert problems_of({**UPSTREAM, "listen": address}) == [
        "--listen: must be host:port or unix:/path, several by comma"
    ]


# Workers


def test_auto_is_a_worker_for_each_core_that_is_available() -> None:
    before = os.sched_getaffinity(0)
    try:
        for cores in (before, {min(before)}):
            os.sched_setaffinity(0, cores)
            assert load_settings({**UPSTREAM, "workers": "auto"}).workers == available_cores() <= len(cores)
    finally:
        os.sched_setaffinity(0, before)


def test_auto_is_no_more_workers_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.settings.types.available_cores", lambda: 1000)
    assert load_settings({**UPSTREAM, "workers": "auto"}).workers == 64


@pytest.mark.parametrize("text", ["many", "AUTO", "2.5", "", "-1"])
def test_what_is_no_number_of_workers_is_told_what_is(text: str) -> None:
    assert problems_of({**UPSTREAM, "workers": text}) == ["--workers: must be a number from 1 to 64, or auto"]


# Times


@pytest.mark.parametrize("text", ["5ms", "1ms", "0.001ms"])
def test_a_call_has_time_for_a_request(text: str) -> None:
    """With less no request is begun, and every call would be refused."""
    assert problems_of({**UPSTREAM, "timeout": text}) == [
        "--timeout: must be longer than 5ms: no upstream request is begun with less"
    ]
    assert load_settings({**UPSTREAM, "timeout": "6ms"}).attempt_timeout == 0.006
