"""Set up a checkout: the Python environment in .venv, or the Node packages of the tests.

Usage: ``python3 tools/set_up.py runtime | dev | node``, by a Python that is new enough. The Makefile calls it
and reads the stamp files that say what is done.

* ``runtime`` - what ``make run`` needs: requirements/runtime.txt, the server and its client.
* ``dev`` - that and every tool of the checks and tests: requirements/dev.txt.
* ``node`` - ``npm ci`` in tests/node.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE = ROOT / "tests" / "node"
# Where the environment was made: the scripts in it name that place.
CHECKOUT = VENV / ".checkout"
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20

# Python compiles what is imported; compiling everything beforehand takes longer than the first start does.
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"]
PACKAGES = ["--editable=clients/python", "--editable=."]


def main(arguments: Sequence[str]) -> None:
    """Do one part; a failure leaves with one sentence that says what to do."""
    match arguments:
        case ["node"]:
            set_up_node()
        case ["runtime" | "dev" as part]:
            set_up_python(part)
        case _:
            fail("Usage: python3 tools/set_up.py runtime | dev | node")


def set_up_python(part: str) -> None:
    """Create .venv when there is no usable one; install one lock, and the packages of this repository."""
    if not venv_is_usable():
        create_venv()
    python = str(VENV / "bin" / "python")
    lock = f"requirements/{part}.txt"
    # Without looking at dependencies: the lock has them all. pip looks up "coverage[toml]>=7.10" on its own
    # and, under --require-hashes, gives up as soon as a release newer than the locked one exists.
    run(
        f"Installing the packages of {lock}",
        [python, *PIP, "--require-hashes", "--no-deps", "--requirement", lock],
        f"pip could not install the packages of {lock}; its message is above. "
        "Check the network, and that the index pip is set to has them.",
    )
    # The build tools came with the lock: nothing is downloaded here, wherever pip is set to look.
    run(
        "Installing durachart",
        [python, *PIP, "--no-deps", "--no-build-isolation", "--no-index", *PACKAGES],
        "pip could not install this checkout; its message is above.",
    )
    CHECKOUT.write_text(f"{ROOT}\n", encoding="utf-8")
    (VENV / ".set-up-runtime").touch()
    if part == "dev":
        # Its lock holds all of the runtime's packages, at the same versions.
        (VENV / ".set-up-dev").touch()


def venv_is_usable() -> bool:
    """Whether .venv can be kept: it runs, has pip, is new enough, and was not made for another place."""
    if CHECKOUT.exists() and CHECKOUT.read_text(encoding="utf-8").strip() != str(ROOT):
        return False
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return (
            subprocess.run([VENV / "bin" / "python", "-c", probe], stderr=subprocess.DEVNULL).returncode == 0
        )
    except OSError:
        return False


def create_venv() -> None:
    """Make .venv, replacing one that cannot be used."""
    # Debian and Ubuntu leave out ensurepip; a virtual environment would come without pip, and halfway.
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        fail(
            f"{sys.executable} cannot make virtual environments: install its venv package "
            "(on Debian and Ubuntu: apt-get install python3-venv), then run make again."
        )
    version = ".".join(map(str, sys.version_info[:3]))
    run(
        f"Creating .venv with Python {version}",
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        f"{sys.executable} could not create .venv; its message is above.",
    )


def set_up_node() -> None:
    """Install what tests/node/package-lock.json names."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        fail(
            f"The tests need Node {OLDEST_NODE} or newer and npm, and they are not on the PATH: "
            "install them, then run make again."
        )
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        fail(
            f"The tests need Node {OLDEST_NODE} or newer, and {node} is {version}: "
            "install a newer one, then run make again."
        )
    run(
        "Installing the Node packages of the tests",
        [npm, "ci", "--loglevel=error", "--no-progress"],
        "npm could not install the packages of tests/node; its message is above. "
        "Check the network, and that the registry npm is set to has them.",
        directory=NODE,
    )
    # The Makefile's stamp; npm may leave it as old as the lock.
    (NODE / "node_modules" / ".package-lock.json").touch()


def run(what: str, command: Sequence[str], failure: str, *, directory: Path = ROOT) -> None:
    """Run one slow step: say what, then how many seconds it took, or leave with ``failure``."""
    print(f"{what} ... ", end="", file=sys.stderr, flush=True)
    begun = time.monotonic()
    # Standard output of pip and npm is chatter; what matters comes on standard error.
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        print("failed", file=sys.stderr)
        fail(failure)
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)


def fail(sentence: str) -> NoReturn:
    """Leave with exit code 1 and one sentence."""
    sys.exit(sentence)


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
