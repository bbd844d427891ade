"""The clients: where the driver of each is, what it needs, and what version of which library it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version

from clients.interop import ROOT

CLIENTS_FOLDER = ROOT / "clients"


@dataclass(frozen=True)
class Client:
    """A client library, and the driver that is written with it.

    Attributes:
        name: Of the library; its column.
        language: What it is for.
        folder: In `clients/`: with a Makefile whose `build` builds the driver, and `interop`, which runs it.
        needs: Programs without which it cannot be built or run.
        pinned: A file of that folder that pins the library, and a pattern whose group is its version.
        package: What pkg-config calls the library, where the system has it and nothing pins it.
        module: Of this package, in place of an executable: the driver in Python.
    """

    name: str
    language: str
    folder: str
    needs: tuple[str, ...] = ()
    pinned: tuple[str, str] = ("", "")
    package: str = ""
    module: str = ""

    @property
    def is_here(self) -> bool:
        """Whether there is a driver of it."""
        return bool(self.module) or (CLIENTS_FOLDER / self.folder / "interop").is_file()

    @property
    def missing(self) -> list[str]:
        """Return the programs that it needs and this machine does not have; where it has them all, the library."""
        programs = [program for program in self.needs if shutil.which(program) is None]
        if programs or not self.package or _pkg_config("--exists", self.package).returncode == 0:
            return programs
        return [self.package]

    @property
    def build(self) -> tuple[str, ...]:
        """Return the command that builds the driver; empty where there is nothing to build."""
        return () if self.module else ("make", "--no-print-directory", "-C", str(CLIENTS_FOLDER / self.folder), "build")

    @property
    def run(self) -> tuple[str, ...]:
        """Return the command that runs the driver."""
        if self.module:
            return (sys.executable, "-m", self.module)
        return (str(CLIENTS_FOLDER / self.folder / "interop"),)

    @property
    def version(self) -> str:
        """Return the version of the library.

        Raises:
            LookupError: The file does not say it.
        """
        if self.module:
            return version("grpcio")
        if self.package:
            return _pkg_config("--modversion", self.package).stdout.strip()
        name, pattern = self.pinned
        found = re.search(pattern, (CLIENTS_FOLDER / self.folder / name).read_text())
        if found is None:
            raise LookupError(f"{self.folder}/{name} has nothing like {pattern}")
        return found[1]


def _pkg_config(*asked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("pkg-config", *asked), check=False, capture_output=True, text=True)


def _of_npm(package: str) -> tuple[str, str]:
    return ("package.json", rf'"{package}": "([\d.]+)"')


CLIENTS = (
    Client("grpc-go", "Go", "go", ("go",), ("go.mod", r"google\.golang\.org/grpc v(\S+)")),
    Client("connect-go", "Go", "go-connect", ("go",), ("go.mod", r"connectrpc\.com/connect v(\S+)")),
    Client("grpc-js", "TypeScript", "typescript-grpc-js", ("node", "npm"), _of_npm("@grpc/grpc-js")),
    Client("connect-node", "TypeScript", "typescript-connect", ("node", "npm"), _of_npm("@connectrpc/connect-node")),
    Client("grpcio", "Python", "python", module="clients.interop.python_driver"),
    Client("grpc-java", "Java", "java", ("java", "mvn"), ("pom.xml", r"<grpc\.version>([\d.]+)<")),
    Client("tonic", "Rust", "rust", ("cargo",), ("Cargo.toml", r'\btonic = \{ version = "=([\d.]+)"')),
    Client("gRPC++", "C++", "cpp", ("g++", "cmake", "pkg-config", "protoc", "grpc_cpp_plugin"), package="grpc++"),
)
