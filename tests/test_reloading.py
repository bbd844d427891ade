"""Files that are read again when they change, and what makes certificates and keys unusable."""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from certificates import (
    CA,
    NOW,
    OTHER_CA,
    TOMORROW,
    YESTERDAY,
    Folder,
    Mount,
    issue,
    issue_authority,
    issue_named,
    issue_of_year_0,
    pem_of,
    pem_of_key,
)
from gateway.files import reloading as reloading_module
from gateway.files.certificates import KeyUse, read_authorities, read_key_pair
from gateway.files.reloading import Outcome, Reloading, read_file
from gateway.metrics import Metrics
from gateway.start_errors import BadFileError
from patience import AGES

CANARY = b"canary-4711"
GOOD = issue("good.example")
LONG_AGO, IN_YEARS = NOW - timedelta(days=999), NOW + timedelta(days=999)


def read_good(path: Path) -> bytes:
    """Read a file, which is bad where it holds the canary."""
    content = read_file(path)
    if CANARY in content:
        raise BadFileError(path, "is bad") from ValueError(content)
    return content


def reloading(path: Path, metrics: Metrics | None = None) -> Reloading[bytes]:
    return Reloading("thing", (path,), lambda: read_good(path), metrics or Metrics())


def counted(metrics: Metrics, result: str) -> float:
    return (
        metrics.registry.get_sample_value("swr_gateway_file_reloads_total", {"what": "thing", "result": result}) or 0.0
    )


def change(path: Path, act: Callable[[], object]) -> None:
    """Change a file, again until its time of change is another: on older kernels clocks of files tick slowly."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        act()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_a_file_that_is_written_in_place_is_read_again(path: Path) -> None:
    value = reloading(path)
    assert value.current() == b"first"
    change(path, lambda: path.write_bytes(b"other"))
    assert value.current() == b"other"


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
def test_a_file_that_is_replaced_is_read_again(tmp_path: Path, kind: type[Folder]) -> None:
    files = kind(tmp_path / "files", file=b"first")
    value = reloading(files.path("file"))
    assert value.current() == b"first"
    files.put(file=b"other")
    assert value.current() == b"other"


def test_a_copy_that_keeps_its_old_time_is_read_again(path: Path) -> None:
    value = reloading(path)
    before = path.stat()

    def write() -> None:
        path.write_bytes(b"other")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    change(path, write)
    assert value.current() == b"other"


def test_files_are_stale_while_they_cannot_be_used(tmp_path: Path, metrics: Metrics) -> None:
    files = Folder(tmp_path / "files", file=b"good")
    value = reloading(files.path("file"), metrics)
    stale = []
    for content in (b"good", CANARY, b"better"):
        files.put(file=content)
        value.current()
        stale.append(metrics.registry.get_sample_value("swr_gateway_file_stale", {"what": "thing"}))
    assert stale == [0, 1, 0]


def test_a_file_is_not_read_again_while_nothing_changes(path: Path, metrics: Metrics) -> None:
    reads: list[bytes] = []
    value = Reloading("thing", (path,), lambda: reads.append(read_file(path)), metrics)
    for _ in range(3):
        value.current()
    assert reads == [b"first"]
    assert (counted(metrics, "ok"), counted(metrics, "error")) == (0, 0)


def test_every_one_of_several_files_counts(tmp_path: Path, metrics: Metrics) -> None:
    files = Folder(tmp_path / "files", one=b"1", two=b"2")
    paths = (files.path("one"), files.path("two"))
    value = Reloading("thing", paths, lambda: b"".join(map(read_file, paths)), metrics)
    files.put(one=b"a")
    assert value.current() == b"a2"
    files.put(two=b"b")
    assert value.current() == b"ab"


def test_a_change_of_permissions_is_a_change(path: Path, metrics: Metrics) -> None:
    value = reloading(path, metrics)
    modes = iter((0o640, 0o600) * 100_000)
    change(path, lambda: path.chmod(next(modes)))
    assert value.current() == b"first"
    assert counted(metrics, "ok") == 1


def test_a_file_that_becomes_readable_is_read_again(path: Path, metrics: Metrics) -> None:
    value = reloading(path, metrics)
    path.write_bytes(b"other")
    change(path, lambda: path.chmod(0))
    if os.access(path, os.R_OK):
        pytest.skip("root reads files whatever their permissions")
    assert value.current() == b"first"
    change(path, lambda: path.chmod(0o600))
    assert value.current() == b"other"
    assert (counted(metrics, "ok"), counted(metrics, "error")) == (1, 1)


def spoil_content(path: Path) -> None:
    change(path, lambda: path.write_bytes(CANARY))


def spoil_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILERS = [
    pytest.param(spoil_content, id="bad content"),
    pytest.param(Path.unlink, id="missing"),
    pytest.param(spoil_by_folder, id="a folder"),
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_bad_file_leaves_the_last_good_value_and_is_told_and_counted_once(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    value = reloading(path, metrics)
    spoil(path)
    assert [value.current() for _ in range(3)] == [b"first"] * 3
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith(f"thing: {path}: ")
    assert CANARY.decode() not in caplog.text
    assert (counted(metrics, "ok"), counted(metrics, "error")) == (0, 1)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_good_file_after_a_bad_one_is_put_to_use(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    caplog.set_level(logging.INFO)
    value = reloading(path, metrics)
    spoil(path)
    value.current()
    if path.is_dir():
        path.rmdir()
    new = path.with_suffix(".new")
    new.write_bytes(b"other")
    new.replace(path)
    assert [value.current() for _ in range(3)] == [b"other"] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert (counted(metrics, "ok"), counted(metrics, "error")) == (1, 1)


def test_each_new_bad_file_is_told(tmp_path: Path, metrics: Metrics) -> None:
    files = Folder(tmp_path / "files", file=b"first")
    value = reloading(files.path("file"), metrics)
    for bad in (CANARY, CANARY * 2):
        files.put(file=bad)
        assert value.current() == b"first"
    assert counted(metrics, "error") == 2


@pytest.mark.parametrize("spoil", SPOILERS)
def test_without_a_first_value_there_is_an_error(path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(path)
    with pytest.raises(BadFileError) as raised:
        reloading(path)
    assert raised.value.path == path


def test_what_nobody_foresaw_leaves_the_last_good_value_too(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> bytes:
        if CANARY in (content := read_file(path)):
            raise ZeroDivisionError(content)
        return content

    value = Reloading("thing", (path,), load, metrics)
    change(path, lambda: path.write_bytes(CANARY))
    assert [value.current() for _ in range(3)] == [b"first"] * 3
    assert caplog.messages == [f"thing: {path}: cannot be used: ZeroDivisionError; the last good one stays in use"]
    assert CANARY.decode() not in caplog.text
    with pytest.raises(BadFileError, match="ZeroDivisionError"):
        Reloading("thing", (path,), load, metrics)


def let_looks_hang(patch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Return what is set when a look at a file hangs, and what lets it go on."""
    hangs, answers = threading.Event(), threading.Event()
    stat = Path.stat

    def hang(self: Path, **given: Any) -> os.stat_result:
        hangs.set()
        answers.wait()
        return stat(self, **given)

    patch.setattr(Path, "stat", hang)
    return hangs, answers


def test_a_file_system_that_hangs_holds_nobody_up(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(reloading_module, "PATIENCE", 0.0)
    monkeypatch.setattr(reloading_module, "HANGS_AFTER", 0.0)
    value = reloading(path, metrics)
    change(path, lambda: path.write_bytes(b"other"))
    with monkeypatch.context() as patch:
        hangs, answers = let_looks_hang(patch)
        assert value.current() == b"first"
        hangs.wait()
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: value.current(), range(50))) == [b"first"] * 50
        stale = metrics.registry.get_sample_value("swr_gateway_file_stale", {"what": "thing"})
        assert stale == 1
        monkeypatch.setattr(reloading_module, "HANGS_AFTER", AGES)
        answers.set()
        while value.current() != b"other":
            pass
    while "thing: the file system answers again" not in caplog.messages:
        value.current()
    told = f"thing: the file system of {path} does not answer; the last good one stays in use"
    assert caplog.messages.count(told) == 1
    assert metrics.registry.get_sample_value("swr_gateway_file_stale", {"what": "thing"}) == 0


def test_a_look_that_hangs_is_not_waited_for_by_each_who_wants_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = reloading(path)
    with monkeypatch.context() as patch:
        hangs, answers = let_looks_hang(patch)
        patch.setattr(reloading_module, "PATIENCE", 0.0)
        assert value.current() == b"first"
        hangs.wait()
        now = time.monotonic
        patch.setattr(time, "monotonic", lambda: now() + 2 * AGES)
        patch.setattr(reloading_module, "PATIENCE", AGES)
        assert value.look().outcome is Outcome.NO_ANSWER
        answers.set()
    assert value.look().outcome is Outcome.UNCHANGED  # what is told of that look is told by now


def test_files_are_looked_at_now_and_then_and_whenever_somebody_wants_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = reloading(path)
    monkeypatch.setattr(reloading_module, "PAUSE", AGES)
    assert value.current() == b"first"
    change(path, lambda: path.write_bytes(b"other"))
    assert value.current() == b"first"
    value.look()
    assert value.current() == b"other"


def test_a_look_that_has_ended_is_told_although_others_have_begun(path: Path) -> None:
    value = reloading(path)
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            value.current()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(ask)
        outcomes = {value.look().outcome for _ in range(200)}
        enough.set()
    assert outcomes == {Outcome.UNCHANGED}


def test_without_room_for_a_thread_the_last_value_is_used_and_the_next_look_is_luckier(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    value = reloading(path)
    change(path, lambda: path.write_bytes(b"other"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert value.current() == b"first"
    assert value.current() == b"other"


@pytest.mark.parametrize("read", [partial(read_key_pair, use=KeyUse.GRPC), lambda path, _: read_authorities(path)])
def test_a_time_that_is_none_makes_a_certificate_unusable(tmp_path: Path, read: Callable[..., object]) -> None:
    odd = issue_of_year_0("good.example")
    files = Folder(tmp_path / "files", certificate=odd.chain, key=odd.key)
    with pytest.raises(BadFileError, match="holds a certificate whose times cannot be read"):
        read(files.path("certificate"), files.path("key"))


def test_threads_that_ask_while_a_file_is_read_get_what_is_new_from_one_reading(path: Path) -> None:
    asking = threading.Semaphore(0)
    begun, go_on = threading.Event(), threading.Event()
    reads: list[int] = []

    def load() -> bytes:
        reads.append(threading.get_ident())
        if len(reads) > 1:
            begun.set()
            assert go_on.wait()
        return read_file(path)

    def ask() -> bytes:
        asking.release()
        return value.current()

    value = Reloading("thing", (path,), load, Metrics())
    change(path, lambda: path.write_bytes(b"other"))
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(ask)
        assert begun.wait()
        others = [threads.submit(ask) for _ in range(8)]
        assert all(asking.acquire() for _ in range(9))
        go_on.set()
        assert [answer.result() for answer in (first, *others)] == [b"other"] * 9
    assert len(reads) == 2


def test_threads_never_see_a_value_go_back(tmp_path: Path) -> None:
    files = Mount(tmp_path / "files", file=b"0")
    value = Reloading("thing", (files.path("file"),), lambda: int(read_file(files.path("file"))), Metrics())
    written = threading.Event()

    def watch() -> list[int]:
        seen = []
        while not written.is_set():
            seen.append(value.current())
        return [*seen, value.current()]

    with ThreadPoolExecutor(4) as threads:
        watchers = [threads.submit(watch) for _ in range(4)]
        for number in range(1, 31):
            files.put(file=str(number).encode())
        written.set()
        for watcher in watchers:
            assert watcher.result() == sorted(watcher.result())
            assert watcher.result()[-1] == 30


def write_pair(folder: Path, chain: bytes | None, key: bytes | None) -> tuple[Path, Path]:
    """Write a certificate and a key; None leaves a file out."""
    paths = folder / "certificate", folder / "key"
    for path, content in zip(paths, (chain, key), strict=True):
        if content is not None:
            path.write_bytes(content)
    return paths


def pkcs8(pem: bytes) -> bytes:
    """Write a key as it is written for TLS libraries, whatever it was in its file."""
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


KEYS: dict[str, tuple[Any, tuple[KeyUse, ...]]] = {
    "rsa of 2048 bits": (rsa.generate_private_key(65537, 2048), (KeyUse.GRPC, KeyUse.OPENSSL)),
    "rsa of 1024 bits": (rsa.generate_private_key(65537, 1024), ()),
    "P-256": (ec.generate_private_key(ec.SECP256R1()), (KeyUse.GRPC, KeyUse.OPENSSL)),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), (KeyUse.GRPC, KeyUse.OPENSSL)),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), (KeyUse.OPENSSL,)),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), (KeyUse.OPENSSL,)),
    "P-224": (ec.generate_private_key(ec.SECP224R1()), ()),
    "Ed448": (ed448.Ed448PrivateKey.generate(), ()),
}


@pytest.mark.parametrize("use", KeyUse)
@pytest.mark.parametrize(("key", "uses"), KEYS.values(), ids=KEYS)
def test_keys_of_no_use_are_refused(key: Any, uses: tuple[KeyUse, ...], use: KeyUse, tmp_path: Path) -> None:
    pair = issue_named("DNS:localhost", key=key)
    paths = write_pair(tmp_path, pair.chain, pair.key)
    if use in uses:
        assert read_key_pair(*paths, use).key == pkcs8(pair.key)
    else:
        with pytest.raises(BadFileError, match=r"certificate: holds a key of a kind that is of no use here"):
            read_key_pair(*paths, use)


def test_what_fails_for_a_passing_reason_is_tried_again_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.files.reloading.RETRY_AFTER", 0.0)
    caplog.set_level(logging.INFO)
    path = tmp_path / "file"
    path.write_text("first")
    outcomes: list[BadFileError | str] = ["first", BadFileError(path, "busy"), BadFileError(path, "busy"), "second"]

    def load() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BadFileError):
            raise outcome
        return outcome

    value = Reloading("thing", (path,), load, Metrics())
    change(path, partial(path.write_text, "second"))
    assert [value.current() for _ in range(4)] == ["first", "first", "second", "second"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_key_pair_is_read_with_the_time_of_its_end(tmp_path: Path) -> None:
    pair = issue("good.example", not_after=TOMORROW)
    paths = write_pair(tmp_path, pair.chain + pem_of(CA), pair.key)
    read = read_key_pair(*paths, KeyUse.GRPC)
    assert (read.chain, read.ends) == (pair.chain + pem_of(CA), int(TOMORROW.timestamp()))
    assert pkcs8(read.key) == pkcs8(pair.key)


def test_a_key_pair_does_not_show_its_key(tmp_path: Path) -> None:
    pair = read_key_pair(*write_pair(tmp_path, GOOD.chain, GOOD.key), KeyUse.GRPC)
    assert "key=" not in repr(pair)
    assert GOOD.key.splitlines()[1].decode() not in repr(pair)


def of_unknown_curve(pem: bytes) -> bytes:
    """Name a curve that nobody knows instead of the certificate's or key's own."""
    first, *body, last = pem.splitlines()
    der = base64.b64decode(b"".join(body)).replace(P_256, P_256[:-1] + b"\x7f")
    return b"\n".join((first, base64.b64encode(der), last))


P_256 = bytes.fromhex("2a8648ce3d030107")  # its object identifier
EXPIRED = issue("good.example", not_before=LONG_AGO, not_after=YESTERDAY)
FUTURE = issue("good.example", not_before=TOMORROW)
NO_PEM = b"-----BEGIN CERTIFICATE-----\n" + CANARY + b"\n-----END CERTIFICATE-----\n"
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_AS_PKCS8 = pem_of_key(KEY)
ENCRYPTED = pem_of_key(KEY, b"password")

UNUSABLE_PAIRS = [
    pytest.param(None, GOOD.key, "certificate", "No such file or directory", id="no certificate"),
    pytest.param(GOOD.chain, None, "key", "No such file or directory", id="no key"),
    pytest.param(b"", GOOD.key, "certificate", "holds no certificate in PEM", id="empty certificate"),
    pytest.param(GOOD.chain, b"", "key", "holds no unencrypted private key in PEM", id="empty key"),
    pytest.param(NO_PEM, GOOD.key, "certificate", "holds no certificate in PEM", id="certificate that is none"),
    pytest.param(GOOD.chain, CANARY, "key", "holds no unencrypted private key in PEM", id="key that is none"),
    pytest.param(GOOD.key, GOOD.chain, "certificate", "holds no certificate in PEM", id="one for the other"),
    pytest.param(GOOD.chain, ENCRYPTED, "key", "holds no unencrypted private key in PEM", id="encrypted key"),
    pytest.param(GOOD.chain, KEY_AS_PKCS8, "key", "is not the key of the certificate in .*certificate", id="other key"),
    pytest.param(pem_of(CA) + GOOD.chain, GOOD.key, "key", "is not the key of", id="chain in the wrong order"),
    pytest.param(EXPIRED.chain, EXPIRED.key, "certificate", r"expired at \d{4}-\d\d-\d\dT", id="expired"),
    pytest.param(FUTURE.chain, FUTURE.key, "certificate", r"not valid before \d{4}-\d\d-\d\dT", id="not valid yet"),
    pytest.param(
        of_unknown_curve(GOOD.chain), GOOD.key, "certificate", "certificate: .+", id="certificate of an unknown curve"
    ),
    pytest.param(GOOD.chain, of_unknown_curve(KEY_AS_PKCS8), "key", "key: .+", id="key of an unknown curve"),
]


@pytest.mark.parametrize(("chain", "key", "at_fault", "problem"), UNUSABLE_PAIRS)
def test_a_pair_that_cannot_be_used_is_told_by_its_file_and_problem(
    tmp_path: Path, chain: bytes | None, key: bytes | None, at_fault: str, problem: str
) -> None:
    with pytest.raises(BadFileError, match=problem) as raised:
        read_key_pair(*write_pair(tmp_path, chain, key), KeyUse.GRPC)
    assert raised.value.path == tmp_path / at_fault
    assert str(raised.value) == f"{tmp_path / at_fault}: {raised.value.problem}"
    assert CANARY.decode() not in str(raised.value)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, GOOD.chain, None)
    key.mkdir()
    with pytest.raises(BadFileError, match="key: is not a regular file"):
        read_key_pair(certificate, key, KeyUse.GRPC)


def test_the_log_shows_nothing_of_a_key_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_pair(tmp_path, GOOD.chain, GOOD.key)
    value = Reloading("pair", paths, lambda: read_key_pair(*paths, KeyUse.GRPC), Metrics())
    caplog.set_level(logging.DEBUG)
    for bad in (KEY_AS_PKCS8, ENCRYPTED, CANARY):
        change(paths[1], partial(paths[1].write_bytes, bad))
        assert value.current().key == pkcs8(GOOD.key)
    assert len(caplog.records) == 3
    secrets = {CANARY, *KEY_AS_PKCS8.splitlines()[1:-1], *ENCRYPTED.splitlines()[1:-1]}
    assert [secret for secret in secrets if secret.decode() in caplog.text] == []


OLD_AUTHORITY = issue_authority(LONG_AGO, YESTERDAY)
NEW_AUTHORITY = issue_authority(TOMORROW, IN_YEARS)
AUTHORITY = issue_authority(YESTERDAY, TOMORROW)


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(AUTHORITY, id="one"),
        pytest.param(pem_of(CA, OTHER_CA), id="several"),
        pytest.param(OLD_AUTHORITY + AUTHORITY, id="behind one that expired"),
        pytest.param(AUTHORITY + OLD_AUTHORITY, id="before one that expired"),
        pytest.param(AUTHORITY + NEW_AUTHORITY, id="beside one that is not valid yet"),
    ],
)
def test_authorities_are_read_whole_if_one_is_valid(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "authorities"
    path.write_bytes(pem)
    assert read_authorities(path) == pem


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param(b"", "holds no certificate in PEM", id="empty"),
        pytest.param(CANARY, "holds no certificate in PEM", id="no PEM"),
        pytest.param(NO_PEM, "holds no certificate in PEM", id="no certificate"),
        pytest.param(GOOD.key, "holds no certificate in PEM", id="a key"),
        pytest.param(OLD_AUTHORITY, "expired at", id="expired"),
        pytest.param(NEW_AUTHORITY, "not valid before", id="not valid yet"),
    ],
)
def test_authorities_that_cannot_be_used_are_told(tmp_path: Path, pem: bytes | None, problem: str) -> None:
    path = tmp_path / "authorities"
    if pem is not None:
        path.write_bytes(pem)
    with pytest.raises(BadFileError, match=problem) as raised:
        read_authorities(path)
    assert raised.value.path == path
    assert CANARY.decode() not in str(raised.value)
