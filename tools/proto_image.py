"""Write the image that ``buf breaking`` compares the contract with, or prove that it is the contract of now.

The image is ``proto/`` as it was last accepted. Each change of the contract refreshes it in the same
commit, so that a field is protected from the commit on that adds it; a change that would break a client is
refused here, before it can hide in a fresh image.

Usage: ``python tools/proto_image.py [--check | --allow-breaking]``
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "proto" / "durachart-v1.binpb"
BUF = Path(sys.executable).parent / "buf"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the image, or with ``--check`` compare it; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Keep the image of the contract.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="only say whether the image is stale")
    choice.add_argument("--allow-breaking", action="store_true", help="accept a breaking change")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="durachart-image-") as scratch:
        fresh = Path(scratch) / IMAGE.name
        if buf("build", "proto", "--exclude-source-info", "--output", str(fresh)) != 0:
            print("proto/ does not compile; buf's message is above.", file=sys.stderr)
            return 1
        same = IMAGE.exists() and IMAGE.read_bytes() == fresh.read_bytes()
        if options.check:
            if not same:
                print(
                    f"stale: proto/{IMAGE.name}. Run `make proto-image` and commit the result.",
                    file=sys.stderr,
                )
            return 0 if same else 1
        guarded = IMAGE.exists() and not options.allow_breaking
        if guarded and buf("breaking", "proto", "--against", str(IMAGE)) != 0:
            print(
                "proto/ breaks the contract (above). Keep the old field or message, or accept the break with "
                "`make proto-image ARGS=--allow-breaking`.",
                file=sys.stderr,
            )
            return 1
        IMAGE.write_bytes(fresh.read_bytes())
    return 0


def buf(*arguments: str) -> int:
    """Run buf in the repository; its messages go to this process's own outputs."""
    return subprocess.run([str(BUF), *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
