"""Generate the stubs of the contract, or prove that the committed ones are fresh.

Three places hold stubs, all made from ``proto/``:

* ``server/durachart/rpc/gen`` - messages, for the server's handlers;
* ``clients/python/durachart_client/gen`` - messages and gRPC stubs, for the Python client;
* ``tests/node/gen`` - JavaScript with type declarations, for the tests that speak gRPC-Web.

protoc writes ``from durachart.v1 import types_pb2``, after the proto package. That name would collide with
the server's own package ``durachart``, so the Python files are laid flat into one directory each and their
imports made relative.

Usage: ``python tools/generate.py`` writes what has changed; with ``--check`` it writes nothing and exits
with 1 when a stub is stale.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GOOGLE = ROOT / "third_party" / "googleapis"
ES_PLUGIN = ROOT / "tests" / "node" / "node_modules" / ".bin" / "protoc-gen-es"

SERVER = Path("server/durachart/rpc/gen")
CLIENT = Path("clients/python/durachart_client/gen")
NODE = Path("tests/node/gen")

PACKAGE_DOCSTRING = '"""Generated from proto/ by `make generate`; do not edit."""\n'
HEADER = "# Generated from proto/ by `make generate`; do not edit.\n"
JS_HEADER = "// Generated from proto/ by `make generate`; do not edit.\n"

ABSOLUTE_IMPORT = re.compile(r"^from durachart\.v1 import (\w+)(?: as (\w+))?$", re.MULTILINE)
MODULE_NAME = re.compile(r"'durachart\.v1\.\w+_pb2'")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the stubs, or with ``--check`` compare them; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Generate the stubs of proto/.")
    parser.add_argument("--check", action="store_true", help="only say whether a stub is stale")
    check = parser.parse_args(argv).check
    with tempfile.TemporaryDirectory(prefix="durachart-generate-") as scratch:
        fresh = Path(scratch)
        generate_python(fresh / SERVER, services=False)
        generate_python(fresh / CLIENT, services=True)
        generate_node(fresh / NODE)
        stale = find_stale(fresh)
        if check:
            return report(stale)
        for name in stale:
            write(fresh, name)
    return 0


def find_stale(fresh: Path) -> list[Path]:
    """Stubs that are missing, left over or unlike their fresh twins; paths are relative to the repository."""
    stale: list[Path] = []
    for place in (SERVER, CLIENT, NODE):
        wanted = {path.relative_to(fresh): path.read_bytes() for path in files(fresh / place)}
        found = {path.relative_to(ROOT): path.read_bytes() for path in files(ROOT / place)}
        stale += sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    return stale


def report(stale: Sequence[Path]) -> int:
    """Name every stale stub; the return value is the exit code."""
    for name in stale:
        print(f"stale: {name}", file=sys.stderr)
    if stale:
        print("Run `make generate` and commit the result.", file=sys.stderr)
    return 1 if stale else 0


def write(fresh: Path, name: Path) -> None:
    """Bring one stale stub up to date: write it, or remove it when ``fresh`` has none of that name."""
    source, target = fresh / name, ROOT / name
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        print(f"written: {name}")
    else:
        target.unlink()
        print(f"removed: {name}")


def files(directory: Path) -> Iterator[Path]:
    """Every file below ``directory`` that is not Python's own cache; none when it does not exist."""
    return (path for path in directory.rglob("*") if path.is_file() and path.suffix != ".pyc")


def contract() -> list[str]:
    """Paths of Durachart's proto files, relative to ``proto/``, sorted."""
    return sorted(path.relative_to(PROTO).as_posix() for path in (PROTO / "durachart" / "v1").glob("*.proto"))


def protoc(*arguments: str) -> None:
    """Run the protoc that grpcio-tools carries, whose version the lock fixes.

    Raises:
        SystemExit: protoc refused; its own message has gone to standard error.
    """
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{GOOGLE}", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("protoc failed; its message is above. Nothing was written.")


def generate_python(target: Path, *, services: bool) -> None:
    """Write flat Python stubs with relative imports, and gRPC stubs when ``services`` is true."""
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [f"--python_out={scratch}", f"--pyi_out={scratch}"]
        if services:
            outputs.append(f"--grpc_python_out={scratch}")
        protoc(*outputs, *contract())
        target.mkdir(parents=True)
        (target / "__init__.py").write_text(PACKAGE_DOCSTRING, encoding="utf-8")
        for path in sorted((Path(scratch) / "durachart" / "v1").iterdir()):
            text = path.read_text(encoding="utf-8")
            # protoc writes a gRPC module for every file, even one that declares no service.
            if path.name.endswith("_pb2_grpc.py") and "class " not in text:
                continue
            (target / path.name).write_text(HEADER + make_relative(text), encoding="utf-8")


def make_relative(text: str) -> str:
    """Replace imports of the proto package by relative ones, and let classes name the module they are in."""
    text = ABSOLUTE_IMPORT.sub(
        lambda found: f"from . import {found[1]}" + (f" as {found[2]}" if found[2] else ""), text
    )
    text = MODULE_NAME.sub("__name__", text)
    if "durachart.v1 import" in text or "import durachart" in text:
        sys.exit("protoc wrote an import of a shape that make_relative does not know.")
    return text


def generate_node(target: Path) -> None:
    """Write JavaScript modules with declarations for the contract and for the google.rpc error details."""
    if not ES_PLUGIN.exists():
        sys.exit("protoc-gen-es is missing: run `make generate`, which sets it up.")
    target.mkdir(parents=True)
    google = sorted(path.relative_to(GOOGLE).as_posix() for path in GOOGLE.rglob("*.proto"))
    protoc(
        f"--plugin=protoc-gen-es={ES_PLUGIN}",
        f"--es_out={target}",
        "--es_opt=target=js+dts,import_extension=js",
        *contract(),
        *google,
    )
    for path in files(target):
        path.write_text(JS_HEADER + path.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
