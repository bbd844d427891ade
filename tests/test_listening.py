"""What is listened on: socket files that are served, left behind or something else, and addresses that are the same."""

from __future__ import annotations

import signal
import socket
from itertools import combinations_with_replacement
from pathlib import Path

import grpc
import pytest

from commands import PATIENCE, Start
from conftest import Serve
from gateway.server.loopback import addresses_of, port_of
from gateway.settings.addresses import collide
from gateway.start_errors import ListenError
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from ports import held_port

REQUEST = repos_pb2.ListReposRequest()
NOWHERE = ("--upstream-url", "http://upstream.invalid", "--auth", "none")


async def refusal_of(serve: Serve, listen: str) -> str:
    with pytest.raises(ListenError) as refused:
        await serve(listen=listen)
    return str(refused.value)


async def is_answered(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        return await RepoServiceStub(channel).ListRepos(REQUEST, timeout=PATIENCE) == repos_pb2.ListReposResponse()


@pytest.mark.parametrize("prefix", ["unix:", "unix://"])
@pytest.mark.parametrize("name", ["s", "with blanks", "ünïcode", "a+b@c:d;e=f&g", "[0]", "~!$'()*", "x" * 200])
async def test_a_socket_path_that_passes_is_the_one_that_is_served(
    serve: Serve, name: str, prefix: str, tmp_path: Path
) -> None:
    """The longest names are cut so that the path has as many bytes as it may have."""
    path = str(tmp_path / name)[: 107 - len(prefix.removeprefix("unix:"))]
    await serve(listen=prefix + path)
    assert Path(path).is_socket()  # noqa: ASYNC240 - a local file
    assert await is_answered(prefix + path)


@pytest.mark.parametrize("spelling", ["unix:{}/s", "unix://{}/s", "unix:{}/./s", "unix:{}/link"])
async def test_a_socket_that_is_served_is_not_taken_over(serve: Serve, spelling: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("s")
    first, second = f"unix:{tmp_path}/s", spelling.format(tmp_path)
    await serve(listen=first)
    assert await refusal_of(serve, second) == (
        f"--listen: cannot listen on {second}: address in use: another process serves this socket"
    )
    assert await is_answered(first)


async def test_a_socket_that_is_served_by_who_is_too_busy_to_accept_is_not_taken_over(
    serve: Serve, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        assert "cannot be told whether it is in use" in await refusal_of(serve, f"unix:{path}")
        assert Path(path).is_socket()  # noqa: ASYNC240 - a local file
        busy.accept()[0].close()


async def test_a_socket_of_another_kind_is_not_removed(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        other.bind(path)
        assert "cannot be told whether it is in use" in await refusal_of(serve, f"unix:{path}")
        end.sendto(b"still here", path)
        assert other.recv(16) == b"still here"


async def test_a_file_that_is_no_socket_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    assert (await refusal_of(serve, f"unix:{tmp_path}/s")).endswith(": something that is no socket is there already")
    assert (tmp_path / "s").read_text() == "precious"


async def test_what_cannot_be_listened_on_is_refused_in_the_words_of_the_system(serve: Serve, tmp_path: Path) -> None:
    """gRPC says only that it did not work."""
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = f"127.0.0.1:{occupied.getsockname()[1]}"
        refused = [await refusal_of(serve, one) for one in (taken, "192.0.2.1:50051", f"unix:{tmp_path}/none/s")]
    assert [text.rpartition(": ")[2] for text in refused] == [
        "Address already in use",
        "Cannot assign requested address",
        "No such file or directory",
    ]


async def test_a_socket_file_that_was_left_behind_is_replaced(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    await serve(listen=f"unix:{tmp_path}/s")
    assert await is_answered(f"unix:{tmp_path}/s")


async def test_a_gateway_that_was_killed_makes_room_for_the_next(tmp_path: Path, start: Start) -> None:
    address = f"unix:{tmp_path}/s"
    killed = await start("serve", *NOWHERE, "--listen", address)
    await killed.logs("^serving on ")
    refused = await (await start("serve", *NOWHERE, "--listen", address)).ends()
    assert refused.code == 1
    assert f"error: --listen: cannot listen on {address}: address in use" in refused.err
    killed.signal(signal.SIGKILL)
    await killed.ends()
    assert (tmp_path / "s").is_socket()
    again = await start("serve", *NOWHERE, "--listen", address)
    assert await again.logs(r"^serving on ([^,]+),") == address


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


@needs_ipv6
@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
async def test_localhost_is_both_of_its_addresses_or_none(serve: Serve, taken: str) -> None:
    """gRPC is content with one, and callers would come to whoever has the other."""
    with socket.create_server((taken, 0), family=socket.AF_INET6 if ":" in taken else socket.AF_INET) as occupied:
        port = occupied.getsockname()[1]
        which = f"[{taken}]:{port}" if ":" in taken else f"{taken}:{port}"
        assert await refusal_of(serve, f"localhost:{port}") == (
            f"--listen: cannot listen on localhost:{port}, which is {which}: Address already in use"
        )


@needs_ipv6
async def test_a_port_that_is_chosen_for_localhost_is_one_of_both_addresses(serve: Serve) -> None:
    address = (await serve(listen="localhost:0")).address
    host, _, port = address.rpartition(":")
    assert host == "localhost"
    for one in ("127.0.0.1", "[::1]"):
        assert await is_answered(f"{one}:{port}")


@needs_ipv6
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_port_that_was_chosen_for_localhost_goes_to_nobody_before_it_is_listened_on(
    host: str, family: socket.AddressFamily
) -> None:
    with port_of(addresses_of("localhost"), 0) as port:
        with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
            other.bind((host, port))
        with socket.create_server((host, port), family=family):
            pass


HOSTS = ("127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]")


async def test_a_start_that_fails_on_an_address_holds_none(serve: Serve) -> None:
    with held_port() as free, socket.create_server(("127.0.0.1", 0)) as occupied:
        second = f"127.0.0.1:{occupied.getsockname()[1]}"
        assert second in await refusal_of(serve, f"127.0.0.1:{free},{second}")
        with socket.create_server(("127.0.0.1", free)):
            pass


async def grpc_refuses(one: str, other: str) -> bool:
    """Tell whether gRPC, which listens on one address, refuses another with the same port: with whatever port.

    A port that is free on one of them may be somebody else's on the other.
    """
    for _ in range(5):
        if not await refuses_one_port(one, other):
            return False
    return True


async def refuses_one_port(one: str, other: str) -> bool:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port(f"{one}:0")
    try:
        server.add_insecure_port(f"{other}:{port}")
    except RuntimeError:
        return True
    else:
        return False
    finally:
        await server.stop(None)


@needs_ipv6
@pytest.mark.parametrize(("one", "other"), [*combinations_with_replacement(HOSTS, 2)])
async def test_addresses_collide_where_grpc_refuses_them_in_one_order_or_the_other(one: str, other: str) -> None:
    """Of the addresses of a wildcard and of `localhost` gRPC is content with some, should others be taken already."""
    refused = await grpc_refuses(one, other) or await grpc_refuses(other, one)
    assert collide(f"{one}:1", f"{other}:1") == refused
