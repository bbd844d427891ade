"""Rules between settings, the files that settings name, and the variables of the cloud's own SDK."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.settings.load import SettingsError, load_settings
from gateway.settings.model import SECRETS, Settings
from gateway.settings.names import flag, variable

CANARY = "canary-4711"
CLOUD = {"region": "cn-north-4"}
IAM = {"auth": "iam", "iam_username": "robot", "iam_password": CANARY, "iam_domain": "company"}
AKSK = {"auth": "aksk", "access_key": "AK", "secret_key": CANARY}
TOKEN = {"auth": "token", "token": CANARY}
SDK = {
    "access_key": "HUAWEICLOUD_SDK_AK",
    "secret_key": "HUAWEICLOUD_SDK_SK",
    "security_token": "HUAWEICLOUD_SDK_SECURITY_TOKEN",
}

each_own_credential = pytest.mark.parametrize(
    "own", [pytest.param(parts, id=parts["auth"]) for parts in (TOKEN, IAM, AKSK)]
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(("SWR_GATEWAY_", "HUAWEICLOUD_SDK_")):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


@dataclass(frozen=True)
class Source:
    """One of the three places where settings are given."""

    kind: str
    file: Path
    monkeypatch: pytest.MonkeyPatch

    def give(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Put settings into the place; return those that are flags."""
        if self.kind == "variable":
            for name, text in settings.items():
                self.monkeypatch.setenv(variable(name), text)
        lines = [f"{name} = {json.dumps(text)}\n" for name, text in settings.items() if self.kind == "file"]
        self.file.write_text("".join(lines), encoding="utf-8")
        return dict(settings) if self.kind == "flag" else {}

    def calls(self, name: str) -> str:
        return {"flag": flag(name), "variable": variable(name), "file": f"{name} in {self.file}"}[self.kind]


@pytest.fixture(params=["flag", "variable", "file"])
def source(request: pytest.FixtureRequest, file: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(request.param, file, monkeypatch)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates and keys, good and bad."""
    folder = tmp_path_factory.mktemp("pems")
    ca, year = trustme.CA(), datetime(2020, 1, 1)  # noqa: DTZ001 - trustme wants it without a zone, and means UTC
    for name, cert in {
        "good": ca.issue_cert("localhost"),
        "other": ca.issue_cert("localhost"),
        "old": ca.issue_cert("localhost", not_after=year),
        "new": ca.issue_cert("localhost", not_before=year.replace(2999)),
    }.items():
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        cert.private_key_pem.write_to_path(folder / f"{name}-key.pem")
    (folder / "both.pem").write_bytes((folder / "good.pem").read_bytes() + (folder / "good-key.pem").read_bytes())
    for name in ("good", "good-key"):
        (folder / f"curve-{name}.pem").write_bytes(_of_an_unknown_curve((folder / f"{name}.pem").read_bytes()))
    key = load_pem_private_key((folder / "good-key.pem").read_bytes(), password=None)
    encryption = BestAvailableEncryption(CANARY.encode())
    (folder / "encrypted-key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    (folder / "junk.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{CANARY}\n-----END CERTIFICATE-----\n")
    (folder / "junk-token").write_text(f"{CANARY} two words")
    (folder / "token").write_text(CANARY)
    _write_bundles(folder, year)
    return folder


def _of_an_unknown_curve(pem: bytes) -> bytes:
    first, *lines, last = pem.decode().splitlines()
    der = base64.b64decode("".join(lines)).replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106"))
    return "\n".join([first, base64.b64encode(der).decode(), last, ""]).encode()


def _write_bundles(folder: Path, year: datetime) -> None:
    good = _authority(year, year.replace(2900))
    old = _authority(year.replace(2019), year)
    new = _authority(year.replace(2999), year.replace(3999))
    for name, bundle in {
        "ca": good,
        "old-ca": old,
        "new-ca": new,
        "old-and-good-ca": old + good,
        "good-and-old-ca": good + old,
        "good-and-new-ca": good + new,
    }.items():
        (folder / f"{name}.pem").write_bytes(bundle)


def _authority(begin: datetime, end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "authority")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def problems_of(flags: Mapping[str, Any], config: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(flags, config)
    return raised.value.problems


def places_of(problems: list[str]) -> list[str]:
    return sorted(problem.partition(": ")[0] for problem in problems)


def in_folder(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return {name: str(folder / text) for name, text in settings.items()}


# Credentials


@pytest.mark.parametrize("both", [True, False], ids=["both", "none"])
def test_auth_token_needs_exactly_one_of_token_and_token_file(both: bool, pems: Path) -> None:
    parts = {"token": CANARY, "token_file": str(pems / "token")} if both else {}
    assert problems_of({**CLOUD, "auth": "token", **parts}) == [
        "--auth: `token` needs one of SWR_GATEWAY_TOKEN and --token-file (SWR_GATEWAY_TOKEN_FILE)"
    ]


@pytest.mark.parametrize("parts", [TOKEN, AKSK, {**AKSK, "security_token": "ST", "project_id": "P"}, IAM])
def test_a_whole_credential_is_accepted(parts: Mapping[str, str]) -> None:
    assert load_settings({**CLOUD, **parts}).auth == parts["auth"]


def test_auth_aksk_names_all_that_is_missing_at_once() -> None:
    assert problems_of({**CLOUD, "auth": "aksk"}) == [
        "--auth: `aksk` needs SWR_GATEWAY_ACCESS_KEY",
        "--auth: `aksk` needs SWR_GATEWAY_SECRET_KEY",
    ]


def test_auth_iam_names_all_that_is_missing_at_once() -> None:
    assert problems_of({"upstream_url": "https://swr.example", "auth": "iam"}) == [
        "--auth: `iam` needs --iam-username (SWR_GATEWAY_IAM_USERNAME)",
        "--auth: `iam` needs SWR_GATEWAY_IAM_PASSWORD",
        "--auth: `iam` needs --iam-domain (SWR_GATEWAY_IAM_DOMAIN)",
        "--auth: `iam` needs --iam-url (SWR_GATEWAY_IAM_URL) where --region (SWR_GATEWAY_REGION) is not given",
        "--auth: `iam` needs --iam-project (SWR_GATEWAY_IAM_PROJECT) where --region (SWR_GATEWAY_REGION) is not given",
    ]


@pytest.mark.parametrize(
    ("whole", "name"),
    [
        *((AKSK, name) for name in ("access_key", "secret_key")),
        *((IAM, name) for name in ("iam_username", "iam_password", "iam_domain")),
    ],
)
def test_a_part_that_is_missing_is_named_alone(whole: Mapping[str, str], name: str) -> None:
    (problem,) = problems_of({**CLOUD, **whole, name: ""})
    assert problem.startswith(f"--auth: `{whole['auth']}` needs ")
    assert variable(name) in problem


def without(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {other: text for other, text in settings.items() if other != name}


@pytest.mark.parametrize("missing", ["iam_url", "iam_project"])
def test_auth_iam_without_a_region_needs_url_and_project(missing: str) -> None:
    parts = {"upstream_url": "https://swr.example", "iam_url": "https://iam.example", "iam_project": "p"}
    assert load_settings({**parts, **IAM}).iam_origin == "https://iam.example"
    (problem,) = problems_of({**without(missing, parts), **IAM})
    assert f"needs {flag(missing)} " in problem


def test_a_region_stands_for_its_iam() -> None:
    assert load_settings({**CLOUD, **IAM}).iam_origin == "https://iam.cn-north-4.myhuaweicloud.com"


def test_a_missing_part_is_a_problem_of_the_place_that_chose_the_credential(source: Source) -> None:
    flags = {**CLOUD, **source.give({"auth": "aksk"})}
    assert set(places_of(problems_of(flags, source.file))) == {source.calls("auth")}


# The variables of the cloud's own SDK


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, its_variable in SDK.items():
        monkeypatch.setenv(its_variable, f"sdk-{name}")


def key_of(settings: Settings) -> dict[str, str]:
    parts = {name: getattr(settings, name) for name in SDK}
    return {name: part.get_secret_value() for name, part in parts.items() if part is not None}


@pytest.mark.usefixtures("sdk")
def test_the_sdks_variables_stand_in_for_an_access_key() -> None:
    assert key_of(load_settings({**CLOUD, "auth": "aksk"})) == {name: f"sdk-{name}" for name in SDK}


@pytest.mark.parametrize("name", SDK)
@pytest.mark.usefixtures("sdk")
def test_the_sdks_variables_are_never_mixed_with_a_key_of_the_gateways_own(name: str, source: Source) -> None:
    flags = {**CLOUD, **source.give({name: "own"})}
    assert key_of(load_settings(flags, source.file)) == {name: "own"}


@pytest.mark.usefixtures("sdk")
def test_half_a_key_is_not_made_whole_by_the_sdks_variables(source: Source) -> None:
    flags = {**CLOUD, "auth": "aksk", **source.give({"access_key": "own"})}
    assert problems_of(flags, source.file) == ["--auth: `aksk` needs SWR_GATEWAY_SECRET_KEY"]


def test_half_a_key_of_the_sdk_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SDK["access_key"], "AK")
    monkeypatch.setenv(SDK["secret_key"], "")
    assert problems_of({**CLOUD, "auth": "aksk"}) == ["--auth: `aksk` needs SWR_GATEWAY_SECRET_KEY"]


@pytest.mark.parametrize("name", SDK)
@pytest.mark.usefixtures("sdk")
def test_a_bad_variable_of_the_sdk_is_named_and_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SDK[name], f"{CANARY} two words")
    assert f"{SDK[name]}: must be visible ASCII without blanks" in problems_of({**CLOUD, "auth": "aksk"})
    assert CANARY not in str(problems_of({**CLOUD, "auth": "aksk"}))


# What must be given together


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("tls_cert", "tls_key"),
        ("tls_key", "tls_cert"),
        ("tls_client_ca", "tls_cert"),
        ("upstream_client_cert", "upstream_client_key"),
        ("upstream_client_key", "upstream_client_cert"),
    ],
)
def test_half_of_what_belongs_together_is_refused(
    name: str, needed: str, source: Source, good_files: Mapping[str, str]
) -> None:
    flags = {**CLOUD, **source.give({name: good_files[name]})}
    assert problems_of(flags, source.file) == [f"{source.calls(name)}: needs {flag(needed)} ({variable(needed)})"]


def test_names_of_callers_need_an_authority_that_vouches_for_callers(server: Mapping[str, str]) -> None:
    assert problems_of({**CLOUD, **server, "tls_allowed_sans": "a.example"}) == [
        "--tls-allowed-sans: needs --tls-client-ca (SWR_GATEWAY_TLS_CLIENT_CA)"
    ]


def test_what_is_bad_by_itself_is_not_told_to_be_missing(file: Path) -> None:
    file.write_text(f'tls_cert = 1\ntls_key = "{file}"\nupstream_client_cert = "{file}"\nupstream_client_key = 1\n')
    assert places_of(problems_of(CLOUD, file)) == [f"tls_cert in {file}", f"upstream_client_key in {file}"]


# Files

PAIRS = ("tls", "upstream_client")
AUTHORITIES = ("tls_client_ca", "upstream_ca")
NOT_THERE = "No such file or directory"
NO_CERTIFICATE = "holds no certificate in PEM"
NO_KEY = "holds no unencrypted private key in PEM"
EXPIRED = "the certificate expired at 2020-01-01T00:00:00Z"
TOO_EARLY = "the certificate is not valid before 2999-01-01T00:00:00Z"


def pair(kind: str, certificate: str, key: str) -> dict[str, str]:
    return {f"{kind}_cert": certificate, f"{kind}_key": key}


@pytest.fixture
def server(pems: Path) -> dict[str, str]:
    """A certificate, as tls_client_ca needs one."""
    return in_folder(pems, pair("tls", "good.pem", "good-key.pem"))


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("certificate", "key", "bad", "says"),
    [
        pytest.param("none.pem", "good-key.pem", "cert", NOT_THERE, id="no certificate"),
        pytest.param("good.pem", "none.pem", "key", NOT_THERE, id="no key"),
        pytest.param(".", "good-key.pem", "cert", "is not a regular file of 4 MiB at most", id="folder as certificate"),
        pytest.param("good.pem", ".", "key", "is not a regular file of 4 MiB at most", id="folder as key"),
        pytest.param("junk.pem", "good-key.pem", "cert", NO_CERTIFICATE, id="junk as certificate"),
        pytest.param("token", "good-key.pem", "cert", NO_CERTIFICATE, id="certificate that is not PEM"),
        pytest.param("other-key.pem", "good-key.pem", "cert", NO_CERTIFICATE, id="key as certificate"),
        pytest.param("good.pem", "token", "key", NO_KEY, id="key that is not PEM"),
        pytest.param("good.pem", "other.pem", "key", NO_KEY, id="certificate as key"),
        pytest.param("good.pem", "encrypted-key.pem", "key", NO_KEY, id="encrypted key"),
        pytest.param(
            "good.pem",
            "other-key.pem",
            "key",
            "is not the key of the certificate in {}/good.pem",
            id="key of another certificate",
        ),
        pytest.param("old.pem", "old-key.pem", "cert", EXPIRED, id="expired"),
        pytest.param("new.pem", "new-key.pem", "cert", TOO_EARLY, id="not valid yet"),
    ],
)
def test_a_certificate_and_key_that_cannot_be_used_are_refused(
    kind: str, certificate: str, key: str, bad: str, says: str, pems: Path
) -> None:
    parts = in_folder(pems, pair(kind, certificate, key))
    name = f"{kind}_{bad}"
    assert problems_of({**CLOUD, **parts}) == [f"{flag(name)}: {parts[name]}: {says.format(pems)}"]


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("certificate", "key", "bad"),
    [
        pytest.param("curve-good.pem", "good-key.pem", "cert", id="certificate"),
        pytest.param("good.pem", "curve-good-key.pem", "key", id="key"),
    ],
)
def test_a_curve_that_is_not_known_here_is_a_problem_like_others(
    kind: str, certificate: str, key: str, bad: str, pems: Path
) -> None:
    parts = in_folder(pems, pair(kind, certificate, key))
    name = f"{kind}_{bad}"
    (problem,) = problems_of({**CLOUD, **parts})
    assert problem.startswith(f"{flag(name)}: {parts[name]}: ")


@pytest.mark.parametrize("kind", PAIRS)
def test_a_file_without_a_key_is_a_problem_of_the_key_even_if_it_is_the_certificates_too(kind: str, pems: Path) -> None:
    (problem,) = problems_of({**CLOUD, **in_folder(pems, pair(kind, "good.pem", "good.pem"))})
    assert flag(f"{kind}_key") in problem.partition(": ")[0]


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(("certificate", "key"), [("good.pem", "good-key.pem"), ("both.pem", "both.pem")])
def test_a_certificate_and_its_key_are_accepted(kind: str, certificate: str, key: str, pems: Path) -> None:
    settings = load_settings({**CLOUD, **in_folder(pems, pair(kind, certificate, key))})
    assert getattr(settings, f"{kind}_cert") == pems / certificate
    assert getattr(settings, f"{kind}_key") == pems / key


@pytest.mark.parametrize("name", ["token_file", "upstream_ca"])
@pytest.mark.parametrize("text", [f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n", f"/{CANARY}\0"], ids=["PEM", "NUL"])
def test_what_is_no_path_is_refused_and_not_shown(name: str, text: str, pems: Path) -> None:
    (problem,) = problems_of({**CLOUD, "auth": "token", "token_file": str(pems / "token"), name: text})
    assert problem.startswith(f"{flag(name)}: ")
    assert CANARY not in problem


@pytest.mark.parametrize("name", AUTHORITIES)
@pytest.mark.parametrize(
    ("bundle", "says"),
    [
        pytest.param("none.pem", NOT_THERE, id="missing"),
        pytest.param(".", "is not a regular file of 4 MiB at most", id="folder"),
        pytest.param("junk.pem", NO_CERTIFICATE, id="junk"),
        pytest.param("token", NO_CERTIFICATE, id="not PEM"),
        pytest.param("old-ca.pem", EXPIRED, id="expired"),
        pytest.param("new-ca.pem", TOO_EARLY, id="not valid yet"),
    ],
)
def test_authorities_that_cannot_be_used_are_refused(
    name: str, bundle: str, says: str, pems: Path, server: Mapping[str, str]
) -> None:
    path = pems / bundle
    assert problems_of({**CLOUD, **server, name: str(path)}) == [f"{flag(name)}: {path}: {says}"]


@pytest.mark.parametrize("name", AUTHORITIES)
@pytest.mark.parametrize("bundle", ["ca.pem", "old-and-good-ca.pem", "good-and-old-ca.pem", "good-and-new-ca.pem"])
def test_authorities_one_of_which_is_valid_now_are_accepted(
    name: str, bundle: str, pems: Path, server: Mapping[str, str]
) -> None:
    assert getattr(load_settings({**CLOUD, **server, name: str(pems / bundle)}), name) == pems / bundle


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none", NOT_THERE),
        (".", "is not a regular file of 4 MiB at most"),
        ("junk-token", "holds no token: that is visible ASCII without blanks"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_refused(name: str, says: str, pems: Path) -> None:
    path = pems / name
    assert problems_of({**CLOUD, "auth": "token", "token_file": str(path)}) == [f"--token-file: {path}: {says}"]


def test_a_token_file_that_nothing_uses_is_not_looked_at(pems: Path) -> None:
    assert load_settings({**CLOUD, "token_file": str(pems / "none")}).token_file == pems / "none"


FILES = ("tls_cert", "tls_key", "tls_client_ca", "upstream_ca", "upstream_client_cert", "upstream_client_key")


@pytest.fixture
def good_files(pems: Path) -> dict[str, str]:
    names = ("good.pem", "good-key.pem", "ca.pem", "ca.pem", "good.pem", "good-key.pem")
    return in_folder(pems, dict(zip(FILES, names, strict=True)) | {"token_file": "token"})


@pytest.mark.parametrize("name", [*FILES, "token_file"])
def test_a_bad_file_is_a_problem_of_the_place_that_named_it(
    name: str, source: Source, good_files: Mapping[str, str]
) -> None:
    flags = {**CLOUD, "auth": "token", **without(name, good_files), **source.give({name: "/nowhere/file"})}
    assert problems_of(flags, source.file) == [f"{source.calls(name)}: /nowhere/file: {NOT_THERE}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", [*FILES, "token_file"])
def test_a_file_that_may_not_be_read_is_refused(name: str, good_files: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0)
    assert problems_of({**CLOUD, "auth": "token", **good_files, name: str(path)}) == [
        f"{flag(name)}: {path}: Permission denied"
    ]


# Credentials within reach of others


@each_own_credential
@pytest.mark.parametrize(
    ("listen", "exposed"),
    [
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::]:1", "[::]:1"),
        ("localhost.example:1", "localhost.example:1"),
        ("127.0.0.1.example:1", "127.0.0.1.example:1"),
        ("127.0.0.1:1,0.0.0.0:2", "0.0.0.0:2"),
        ("unix:/s,[::]:1,localhost:2,10.0.0.1:3", "[::]:1, 10.0.0.1:3"),
    ],
)
def test_the_gateways_own_credential_is_not_for_callers_beyond_this_machine(
    own: Mapping[str, str], listen: str, exposed: str
) -> None:
    (problem,) = problems_of({**CLOUD, **own, "listen": listen})
    assert problem.startswith(f"--listen: whoever reaches {exposed} could ")
    for hint in (f"auth={own['auth']}", "--tls-client-ca", "--allow-insecure"):
        assert hint in problem


@each_own_credential
@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:1", "127.0.0.2:1", "[::1]:1", "localhost:1", "LocalHost:1", "unix:/s", "127.0.0.1:1,[::1]:1,unix:/s"],
)
def test_callers_on_this_machine_may_use_the_gateways_own_credential(own: Mapping[str, str], listen: str) -> None:
    assert load_settings({**CLOUD, **own, "listen": listen}).listen == tuple(listen.split(","))


@pytest.mark.parametrize("auth", ["none", "passthrough"])
def test_a_gateway_without_a_credential_of_its_own_may_listen_everywhere(auth: str) -> None:
    assert load_settings({**CLOUD, "auth": auth, "listen": "0.0.0.0:1"}).listen == ("0.0.0.0:1",)


@each_own_credential
def test_mutual_tls_opens_the_gateways_own_credential_to_others(
    own: Mapping[str, str], pems: Path, server: Mapping[str, str]
) -> None:
    exposed = {**CLOUD, **own, **server, "listen": "0.0.0.0:1"}
    assert places_of(problems_of(exposed)) == ["--listen"]
    assert load_settings({**exposed, "tls_client_ca": str(pems / "ca.pem")}).listen == ("0.0.0.0:1",)


@each_own_credential
def test_who_says_so_opens_the_gateways_own_credential_to_all(own: Mapping[str, str]) -> None:
    assert load_settings({**CLOUD, **own, "listen": "0.0.0.0:1", "allow_insecure": True}).allow_insecure


IAM_AWAY = {**IAM, "iam_project": "p", "iam_url": "https://iam.example"}
each_credential = pytest.mark.parametrize(
    "signed", [pytest.param(parts, id=parts["auth"]) for parts in ({"auth": "passthrough"}, TOKEN, IAM_AWAY, AKSK)]
)


@each_credential
def test_credentials_do_not_go_to_an_upstream_for_everyone_to_read(signed: Mapping[str, str]) -> None:
    (problem,) = problems_of({**signed, "upstream_url": "http://swr.example"})
    assert problem.startswith("--upstream-url: credentials would go to http://swr.example ")
    assert "https://" in problem
    assert "--allow-insecure" in problem


@each_credential
@pytest.mark.parametrize(
    "url", ["https://swr.example", "http://127.0.0.1:8080", "http://127.0.0.2", "http://localhost:1", "http://[::1]"]
)
def test_credentials_go_where_nobody_else_reads_them(signed: Mapping[str, str], url: str) -> None:
    assert load_settings({**signed, "upstream_url": url}).origin == url


def test_an_upstream_that_gets_no_credential_may_be_anywhere() -> None:
    assert load_settings({"auth": "none", "upstream_url": "http://swr.example"}).origin == "http://swr.example"


def test_the_password_does_not_go_to_iam_for_everyone_to_read() -> None:
    (problem,) = problems_of({**CLOUD, **IAM, "iam_url": "http://iam.example"})
    assert problem.startswith("--iam-url: credentials would go to http://iam.example ")


@pytest.mark.parametrize("url", ["https://iam.example", "http://localhost:1", "http://[::1]:1"])
def test_the_password_goes_where_nobody_else_reads_it(url: str) -> None:
    assert load_settings({**CLOUD, **IAM, "iam_url": url}).iam_origin == url


def test_an_iam_that_nobody_asks_may_be_anywhere() -> None:
    assert load_settings({**CLOUD, "iam_url": "http://iam.example"}).iam_url == "http://iam.example"


INSECURE = {**IAM_AWAY, "listen": "0.0.0.0:1", "upstream_url": "http://swr.example", "iam_url": "http://iam.example"}


def test_who_says_so_sends_credentials_everywhere() -> None:
    assert load_settings({**INSECURE, "allow_insecure": "true"}).origin == "http://swr.example"


def test_exposure_is_a_problem_of_the_place_that_causes_it(source: Source) -> None:
    flags = source.give(INSECURE)
    names = ("listen", "upstream_url", "iam_url")
    assert places_of(problems_of(flags, source.file)) == sorted(map(source.calls, names))


# Types


def callers(names: str, pems: Path) -> tuple[str, ...]:
    parts = in_folder(pems, {**pair("tls", "good.pem", "good-key.pem"), "tls_client_ca": "ca.pem"})
    return load_settings({**CLOUD, **parts, "tls_allowed_sans": names}).tls_allowed_sans


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "Client-1.corp_x.example",
        "spiffe://corp",
        "spiffe://corp/*",
        "spiffe://corp/ns/a/sa/b",
        "spiffe://corp/ns/a*",
        "spiffe://corp.example/ns/a/*",
    ],
)
def test_names_of_callers(name: str, pems: Path) -> None:
    assert callers(name, pems) == (name,)
    assert callers(f"a.example , {name}", pems) == ("a.example", name)


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "*.example",
        ".example",
        "a.example.",
        "a b",
        "ä.example",
        "a:1",
        "spiffe://*",
        "spiffe://corp*",
        "spiffe://corp/*/sa",
        "spiffe://corp/**",
        "spiffe://corp//a",
        "spiffe://corp/",
        "spiffe://CORP/a",
        "spiffe://corp:1/a",
        "spiffe://corp/a?b",
    ],
)
def test_what_is_no_name_of_a_caller(name: str, pems: Path) -> None:
    for names in (name, f"a.example,{name}"):
        with pytest.raises(SettingsError, match=r"^--tls-allowed-sans: must be DNS names or SPIFFE ids, several by "):
            callers(names, pems)


labels = st.from_regex(r"[a-z][a-z0-9_-]{0,4}", fullmatch=True)
dns_names = st.lists(labels, min_size=1, max_size=4).map(".".join)
spiffe_ids = st.lists(labels, min_size=1, max_size=4).map(lambda parts: "spiffe://" + "/".join(parts))


@given(st.lists(dns_names | spiffe_ids, min_size=1, max_size=3))
def test_dns_names_and_spiffe_ids_are_names_of_callers(names: list[str]) -> None:
    settings = Settings.model_validate({"tls_allowed_sans": ",".join(names)})
    assert settings.tls_allowed_sans == tuple(names)
    assert settings.model_dump(mode="json")["tls_allowed_sans"] == ",".join(names)


@given(dns_names | spiffe_ids, st.data())
def test_a_star_is_good_only_at_the_end_of_a_spiffe_id_behind_its_trust_domain(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name)))
    starred = f"{name[:at]}*{name[at:]}"
    good = name.count("/") > 2 and at == len(name)
    try:
        accepted = Settings.model_validate({"tls_allowed_sans": starred}).tls_allowed_sans == (starred,)
    except ValueError:
        accepted = False
    assert accepted == good


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:9464", "localhost:1", "0.0.0.0:65535", "metrics.example:80"])
def test_an_http_address(text: str) -> None:
    assert load_settings({**CLOUD, "admin_listen": text}).admin_listen == text


def test_no_http_address_is_none() -> None:
    assert load_settings({**CLOUD, "admin_listen": ""}).admin_listen is None


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "localhost", "localhost:", "a:65536", "::1:1", "unix:/s", "a:1,b:2", "http://a:1", "a:1/"]
)
def test_what_is_no_http_address(text: str) -> None:
    assert problems_of({**CLOUD, "admin_listen": text}) == ["--admin-listen: must be host:port, or empty for none"]


HEADERS = ("token", "access_key", "secret_key", "security_token", "project_id")


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("text", ["two words", " padded", "line\nbreak", "tab\t", "k\u00e9y", "\x7f", "\0"])
def test_what_becomes_a_header_is_visible_ascii_without_blanks(name: str, text: str) -> None:
    assert problems_of({**CLOUD, name: text}) == [f"{flag(name)}: must be visible ASCII without blanks"]


@pytest.mark.parametrize("name", ["iam_username", "iam_password", "iam_domain", "iam_project"])
def test_what_goes_to_iam_in_a_body_may_be_any_text_but_for_control_characters(name: str) -> None:
    value = getattr(load_settings({**CLOUD, name: "zwei Wörter 密码"}), name)
    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == "zwei Wörter 密码"
    assert problems_of({**CLOUD, name: "password\n"}) == [
        f"{flag(name)}: must not hold control characters, such as a line break at its end"
    ]


# All at once


def test_broken_rules_are_told_beside_bad_settings(pems: Path) -> None:
    bad = {"timeout": "soon", "prefetch": "0", "listen": "0.0.0.0:1", "upstream_url": "http://swr.example"}
    files = in_folder(pems, {"upstream_ca": "none.pem", "upstream_client_key": "good-key.pem", **pair("tls", *"xy")})
    assert places_of(problems_of({**bad, **files, **without("secret_key", AKSK)})) == [
        "--auth",
        "--listen",
        "--prefetch",
        "--timeout",
        "--tls-cert",
        "--tls-key",
        "--upstream-ca",
        "--upstream-client-key",
        "--upstream-url",
    ]


@pytest.mark.parametrize("auth", ["none", "passthrough", "token", "iam", "aksk"])
@pytest.mark.parametrize("suffix", ["", " two words"], ids=["good secrets", "bad secrets"])
def test_no_broken_rule_shows_a_secret(auth: str, suffix: str, pems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(variable(name), CANARY + suffix)
    files = {**pair("tls", "junk.pem", "token"), "upstream_ca": "junk.pem", "token_file": "junk-token"}
    flags = {"auth": auth, "listen": "0.0.0.0:1", "upstream_url": "http://swr.example", **in_folder(pems, files)}
    with pytest.raises(SettingsError) as raised:
        load_settings(flags)
    assert "--upstream-ca" in str(raised.value)
    assert CANARY not in f"{raised.value!r} {raised.value.problems}"


# Workers


@pytest.mark.parametrize("workers", ["2", "8"])
def test_a_socket_file_is_for_one_process(workers: str, source: Source) -> None:
    both = {**CLOUD, "listen": "127.0.0.1:1,unix:/run/gateway.sock"}
    assert load_settings({**both, "workers": "1"}).workers == 1
    (problem,) = problems_of({**source.give({"workers": workers}), **both}, source.file)
    where = "only one process can listen on unix:/run/gateway.sock"
    assert problem == f"{source.calls('workers')}: {where}: give host:port, or one worker"
    assert load_settings({**CLOUD, "listen": "127.0.0.1:1,[::1]:1", "workers": workers}).workers == int(workers)


@pytest.mark.parametrize("workers", ["0", "-1", "1.5", "many"])
def test_what_is_no_number_of_workers(workers: str) -> None:
    assert places_of(problems_of({**CLOUD, "workers": workers})) == ["--workers"]


# Tracing

EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


@pytest.fixture
def otel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without variables of OpenTelemetry."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("exporter", [None, "", "none", "otlp"])
@pytest.mark.parametrize("protocol", [None, "", "grpc"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_exporters_of_traces(otel: pytest.MonkeyPatch, exporter: str | None, protocol: str | None, name: str) -> None:
    """Empty is as good as not there: OpenTelemetry says so."""
    for variable_of, text in ((EXPORTER, exporter), (name, protocol)):
        if text is not None:
            otel.setenv(variable_of, text)
    load_settings(CLOUD)


@pytest.mark.parametrize("exporter", ["console", "zipkin", "jaeger", "otlp,console", "OTLP", "otlp_proto_http", " "])
def test_what_is_no_exporter_here(otel: pytest.MonkeyPatch, exporter: str) -> None:
    otel.setenv(EXPORTER, exporter)
    assert problems_of(CLOUD) == [f"{EXPORTER}: must be otlp or none"]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_spans_go_by_grpc_only(otel: pytest.MonkeyPatch, name: str, protocol: str) -> None:
    otel.setenv(name, protocol)
    for off in ("", "none"):
        otel.setenv(EXPORTER, off)
        load_settings(CLOUD)
    otel.setenv(EXPORTER, "otlp")
    assert problems_of(CLOUD) == [f"{name}: must be grpc"]


def test_the_protocol_of_traces_wins_over_the_one_of_everything(otel: pytest.MonkeyPatch) -> None:
    everything, traces = PROTOCOLS
    otel.setenv(EXPORTER, "otlp")
    otel.setenv(everything, "http/protobuf")
    otel.setenv(traces, "grpc")
    load_settings(CLOUD)
    otel.setenv(everything, "grpc")
    otel.setenv(traces, "http/protobuf")
    assert problems_of(CLOUD) == [f"{traces}: must be grpc"]


def _missing(_: str) -> None:
    """Find no module."""


def _missing_parent(name: str) -> None:
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("find", [_missing, _missing_parent])
def test_an_exporter_that_is_not_installed_is_told(otel: pytest.MonkeyPatch, find: Callable[[str], None]) -> None:
    otel.setattr("gateway.settings.environment.find_spec", find)
    load_settings(CLOUD)
    otel.setenv(EXPORTER, "none")
    load_settings(CLOUD)
    otel.setenv(EXPORTER, "otlp")
    assert problems_of(CLOUD) == [f"{EXPORTER}: needs the extra `otel`: pip install ./clients/python '.[otel]'"]


def test_problems_of_tracing_are_told_beside_others(otel: pytest.MonkeyPatch) -> None:
    otel.setenv(EXPORTER, "console")
    assert places_of(problems_of({"timeout": "soon", **TOKEN, "token": ""})) == [
        *("--auth", "--timeout", "--upstream-url (SWR_GATEWAY_UPSTREAM_URL), --region (SWR_GATEWAY_REGION)", EXPORTER)
    ]


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_metrics_are_not_kept_in_files(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/tmp")
    assert problems_of(CLOUD) == [
        f"{name}: must not be set: metrics would be kept in files, and nothing here needs a disk"
    ]


@pytest.mark.parametrize(
    ("sampler", "ratio", "problem"),
    [
        ("", "", ""),
        ("always_on", "odd", ""),
        ("traceidratio", "", ""),
        ("traceidratio", "0", ""),
        ("traceidratio", "1.0", ""),
        ("parentbased_traceidratio", "0.01", ""),
        ("parentbased_traceidratio", ".5", ""),
        ("parentbased_traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1"),
        ("parentbased_traceidratio", "1%", "OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1"),
        ("foo", "", "OTEL_TRACES_SAMPLER: must be one of always_on, always_off, traceidratio, parentbased_always_on, "),
    ],
)
def test_a_sampler_that_would_record_everything_by_mistake_is_refused(
    otel: pytest.MonkeyPatch, sampler: str, ratio: str, problem: str
) -> None:
    otel.setenv(EXPORTER, "otlp")
    otel.setenv("OTEL_TRACES_SAMPLER", sampler)
    otel.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    if problem:
        (told,) = problems_of(CLOUD)
        assert told.startswith(problem)
    else:
        load_settings(CLOUD)


# Listeners


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", "port"),
        ("127.0.0.1:1", "127.0.0.1:01", "port"),
        ("127.0.0.1:1", "localhost:1", "port"),
        ("LocalHost:1", "[::1]:1", "port"),
        ("0.0.0.0:1", "127.0.0.1:1", "port"),
        ("0.0.0.0:1", "[::1]:1", "port"),
        ("gateway.example:1", "[::]:1", "port"),
        ("[::1]:1", "[0:0:0:0:0:0:0:1]:1", "port"),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", "port"),
        ("gateway.example:1", "Gateway.Example.:1", "port"),
        ("unix:/run/s", "unix:/run/s", "path"),
        ("unix:/run/s", "unix:///run/s", "path"),
        ("unix:/run/s", "unix:/run//s", "path"),
        ("unix:/run/s", "unix:/run/./other/../s", "path"),
    ],
)
def test_two_addresses_that_cannot_both_be_listened_on_are_refused(one: str, other: str, what: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert problems_of({**CLOUD, "listen": f"{first},{second}"}) == [
            f"--listen: {first} and {second} have the same {what}: give one of them another"
        ]


@pytest.mark.parametrize(
    "listen",
    [
        "127.0.0.1:0,127.0.0.1:0",
        "0.0.0.0:0,localhost:0",
        "127.0.0.1:1,127.0.0.1:2",
        "127.0.0.1:1,127.0.0.2:1",
        "127.0.0.1:1,[::1]:1",
        "a.example:1,b.example:1",
        "a.example:1,127.0.0.1:1",
        "unix:/run/a,unix:/run/b",
        "unix:/run/a,127.0.0.1:1",
    ],
)
def test_addresses_that_can_all_be_listened_on(listen: str) -> None:
    assert load_settings({**CLOUD, "listen": listen}).listen == tuple(listen.split(","))


def test_a_socket_file_by_way_of_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (problem,) = problems_of({**CLOUD, "listen": f"unix:{tmp_path}/real/s,unix:{tmp_path}/link/s"})
    assert "have the same path" in problem


def test_every_two_addresses_that_are_the_same_are_told() -> None:
    problems = problems_of({**CLOUD, "listen": "127.0.0.1:1,localhost:1,[::1]:1,127.0.0.1:1"})
    assert [problem.split(": ")[1].removesuffix(" have the same port") for problem in problems] == [
        "127.0.0.1:1 and localhost:1",
        "127.0.0.1:1 and 127.0.0.1:1",
        "localhost:1 and [::1]:1",
        "localhost:1 and 127.0.0.1:1",
    ]


def test_operators_are_not_answered_where_callers_are(source: Source) -> None:
    flags = {**CLOUD, **source.give({"listen": "127.0.0.1:7000", "admin_listen": "localhost:7000"})}
    places = f"{source.calls('listen')}, {source.calls('admin_listen')}"
    assert problems_of(flags, source.file) == [
        f"{places}: 127.0.0.1:7000 and localhost:7000 have the same port: give one of them another"
    ]


@pytest.mark.parametrize(
    ("name", "address", "other", "default"),
    [
        ("listen", "0.0.0.0:9464", "admin_listen", "127.0.0.1:9464"),
        ("admin_listen", "0.0.0.0:50051", "listen", "127.0.0.1:50051"),
    ],
)
def test_an_address_that_is_the_default_of_the_other_listener_is_refused(
    name: str, address: str, other: str, default: str
) -> None:
    (problem,) = problems_of({**CLOUD, name: address})
    for part in (flag(name), flag(other), variable(other), address, default):
        assert part in problem
    assert load_settings({**CLOUD, "listen": "127.0.0.1:9464", "admin_listen": ""}).admin_listen is None


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:7000", "127.0.0.1:7000"),
        ("http://localhost:7000", "127.0.0.1:7000"),
        ("https://127.0.0.1:7000", "0.0.0.0:7000"),
        ("http://[::1]:7000", "[::]:7000"),
        ("http://[::1]", "localhost:80"),
        ("https://localhost", "unix:/run/s,127.0.0.1:443"),
    ],
)
def test_a_gateway_is_not_its_own_upstream(url: str, listen: str) -> None:
    own = listen.rpartition(",")[2]
    told = f"the gateway itself listens on {own}, which is where {url} is: give one of them another"
    flags = {"upstream_url": url, "auth": "none"}
    assert problems_of({**flags, "listen": listen}) == [f"--upstream-url, --listen: {told}"]
    assert problems_of({**flags, "listen": "127.0.0.1:1", "admin_listen": own}) == [
        f"--upstream-url, --admin-listen: {told}"
    ]
    (problem,) = problems_of({**IAM, **CLOUD, "iam_url": url, "admin_listen": own})
    assert problem == f"--iam-url, --admin-listen: {told}"


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:7000", "127.0.0.1:7001"),
        ("http://127.0.0.1:7000", "127.0.0.1:0"),
        ("http://127.0.0.1:7000", "127.0.0.2:7000"),
        ("http://swr.example:7000", "0.0.0.0:7000"),
        ("http://10.0.0.1:7000", "[::]:7000"),
        ("https://127.0.0.1", "127.0.0.1:80"),
        ("http://127.0.0.1:7000", "unix:/run/7000"),
    ],
)
def test_an_upstream_that_is_another(url: str, listen: str) -> None:
    assert load_settings({"upstream_url": url, "auth": "none", "listen": listen}).upstream_url == url
    assert load_settings({**CLOUD, "iam_url": "http://127.0.0.1:50051"}).iam_url  # which nobody asks


# Limits, and the defaults that follow them


@pytest.mark.parametrize(
    ("name", "limited_by", "limit", "more", "value"),
    [("attempt_timeout", "timeout", "3s", "4s", 3.0), ("prefetch", "max_in_flight", "2", "3", 2)],
)
def test_what_another_setting_never_lets_happen_is_refused(
    name: str, limited_by: str, limit: str, more: str, value: float, source: Source
) -> None:
    flags = {**CLOUD, **source.give({name: more, limited_by: limit})}
    (problem,) = problems_of(flags, source.file)
    assert problem.startswith(f"{source.calls(name)}: ")
    for part in (limit, flag(limited_by), variable(limited_by)):
        assert part in problem
    assert getattr(load_settings({**CLOUD, name: limit, limited_by: limit}), name) == value


@pytest.mark.parametrize(
    ("name", "limited_by", "limit", "followed", "default"),
    [("attempt_timeout", "timeout", "3s", 3.0, 5.0), ("prefetch", "max_in_flight", "2", 2, 4)],
)
def test_a_default_follows_the_setting_that_limits_it(
    name: str, limited_by: str, limit: str, followed: float, default: float, source: Source
) -> None:
    assert getattr(load_settings(CLOUD), name) == default
    flags = {**CLOUD, **source.give({limited_by: limit})}
    assert getattr(load_settings(flags, source.file), name) == followed


@pytest.mark.parametrize(("name", "value"), [("attempt_timeout", "16s"), ("prefetch", "101")])
def test_what_is_given_is_held_to_the_default_of_what_limits_it(name: str, value: str) -> None:
    assert places_of(problems_of({**CLOUD, name: value})) == [flag(name)]


# No problem follows from another


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param({"listen": "nowhere", "admin_listen": "127.0.0.1:50051"}, ["listen"], id="listeners"),
        pytest.param({"admin_listen": "nowhere", "listen": "127.0.0.1:9464"}, ["admin_listen"], id="operators"),
        pytest.param({"timeout": "soon", "attempt_timeout": "20s"}, ["timeout"], id="time"),
        pytest.param({"timeout": "soon"}, ["timeout"], id="a default of it"),
        pytest.param({"max_in_flight": "0", "prefetch": "200"}, ["max_in_flight"], id="requests"),
        pytest.param({"workers": "0", "listen": "unix:/run/s"}, ["workers"], id="workers"),
        pytest.param({**TOKEN, "listen": "0.0.0.0:1", "allow_insecure": "maybe"}, ["allow_insecure"], id="insecure"),
        pytest.param({"auth": "magic", "listen": "0.0.0.0:1"}, ["auth"], id="auth"),
        pytest.param(
            {"region": "", "upstream_url": "http://swr.example", "allow_insecure": "x"}, ["allow_insecure"], id="http"
        ),
        pytest.param({"region": "", "upstream_url": "http://swr.example", "auth": "magic"}, ["auth"], id="nobody"),
        pytest.param({"region": "", "upstream_url": "swr.example"}, ["upstream_url"], id="upstream"),
        pytest.param({**TOKEN, "token": "two words"}, ["token"], id="token"),
        pytest.param({"region": "UP", **IAM}, ["region"], id="region of IAM"),
        pytest.param(
            {"region": "", "upstream_url": "http://127.0.0.1:50051", "auth": "none", "listen": "x"},
            ["listen"],
            id="the gateway's own address",
        ),
    ],
)
def test_nothing_is_told_that_follows_from_a_bad_setting(flags: Mapping[str, str], told: list[str]) -> None:
    assert places_of(problems_of({**CLOUD, **flags})) == [flag(name) for name in told]


def test_a_bad_authority_for_callers_is_not_told_to_be_missing(file: Path, server: Mapping[str, str]) -> None:
    file.write_text("tls_client_ca = 1\n")
    flags = {**CLOUD, **TOKEN, **server, "listen": "0.0.0.0:1", "tls_allowed_sans": "a"}
    assert places_of(problems_of(flags, file)) == [f"tls_client_ca in {file}"]


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"auth": "aksk"},
        {"auth": "iam"},
        {"auth": "token", "listen": "0.0.0.0:1"},
        {"tls_allowed_sans": "a"},
        {"upstream_url": "http://swr.example"},
    ],
    ids=str,
)
@pytest.mark.parametrize("content", [None, "timeout = "], ids=["not there", "not TOML"])
def test_what_may_be_in_a_file_that_cannot_be_read_is_not_told_to_be_missing(
    content: str | None, flags: Mapping[str, str], file: Path
) -> None:
    if content is not None:
        file.write_text(content)
    assert places_of(problems_of(flags, file)) == ["--config"]


@pytest.mark.parametrize(
    ("misspelt", "flags"),
    [
        ("SWR_GATEWAY_UPSTREAM_UR", {}),
        ("SWR_GATEWAY_REGIO", {}),
        ("SWR_GATEWAY_CONFG", {"auth": "aksk"}),
        ("SWR_GATEWAY_TOKN", {**CLOUD, "auth": "token"}),
        ("SWR_GATEWAY_SECRETKEY", {**CLOUD, "auth": "aksk", "access_key": "AK"}),
        ("SWR_GATEWAY_TLS_CERTS", {**CLOUD, "tls_allowed_sans": "a", "tls_client_ca": "{ca}", "tls_key": "{key}"}),
    ],
)
def test_what_a_misspelt_variable_means_is_not_told_to_be_missing(
    misspelt: str, flags: Mapping[str, str], pems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(misspelt, "x")
    given = {name: text.format(ca=pems / "ca.pem", key=pems / "good-key.pem") for name, text in flags.items()}
    assert places_of(problems_of(given)) == [misspelt]


def test_a_misspelt_variable_beside_the_right_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWR_GATEWAY_TIMEOUTS", "1s")
    monkeypatch.setenv("SWR_GATEWAY_TIMEOUT", "3s")
    assert places_of(problems_of({**CLOUD, "attempt_timeout": "4s"})) == ["--attempt-timeout", "SWR_GATEWAY_TIMEOUTS"]


# Files that are not there, by their paths


@pytest.mark.parametrize("kind", PAIRS)
def test_a_certificate_and_a_key_that_are_not_there_are_told_at_once(kind: str, pems: Path) -> None:
    parts = in_folder(pems, pair(kind, "none.pem", "none-key.pem"))
    assert problems_of({**CLOUD, **parts}) == [f"{flag(name)}: {path}: {NOT_THERE}" for name, path in parts.items()]


def test_a_file_is_told_to_be_missing_although_its_other_half_is_bad(file: Path) -> None:
    file.write_text("tls_cert = 1\n")
    assert problems_of({**CLOUD, "tls_key": "/nowhere/key"}, file)[1:] == [f"--tls-key: /nowhere/key: {NOT_THERE}"]


@pytest.mark.parametrize(
    "path", ["tls.crt", "certs/ca-bundle.pem", "./tls.crt", "../up/token", "server.key.pem", "a/b/c.crt"]
)
def test_a_relative_path_that_is_not_there_is_named(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert problems_of({**CLOUD, "upstream_ca": path}) == [f"--upstream-ca: {Path(path)}: {NOT_THERE}"]


@pytest.mark.parametrize(
    "secret",
    [
        CANARY,
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + CANARY,
        f"eyJhbGciOiJIUzI1NiJ9.{CANARY}{'x' * 30}.{'y' * 43}",
        f"{CANARY}+/==",
        f"{CANARY}.word",
        CANARY * 1000,
    ],
    ids=["short", "secret key", "JWT", "base64", "with a dot", "long"],
)
def test_a_secret_in_the_place_of_its_path_is_not_shown(secret: str) -> None:
    (problem,) = problems_of({**CLOUD, "auth": "token", "token_file": secret})
    assert problem.startswith("--token-file: ")
    assert problem.endswith(" (a relative path, not shown: it may be a secret)")
    assert CANARY not in problem
