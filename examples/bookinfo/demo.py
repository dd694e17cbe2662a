"""Bookinfo as a mesh on this machine: what ``scripts/demo`` runs.

scripts/demo          start, and print the page's URL; it runs on in the background
scripts/demo stop     end it
scripts/demo --check  start another one beside it, try every way to change it, and end it
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MESH = Path(__file__).resolve().parent / "mesh"
PLAIT = str(Path(sys.executable).parent / "plait")
STOP = f"{ROOT / 'scripts' / 'demo'} stop"
URL = "http://127.0.0.1:8080/productpage"
_FAREWELL = f"""
bookinfo: {URL}

Load it again and again: the stars of the reviews change.  Then change who is asked:

    edit {MESH / "routing.yaml"}: the page obeys as you save
    {PLAIT} apply -f {MESH.parent / "networking"}/virtual-service-reviews-v3.yaml --wait
    {PLAIT} status
    {PLAIT} logs -f deployment/reviews-v2
    {PLAIT} scale deployment/details-v1 --replicas 0

Stop it with: {STOP}
"""


def start() -> int:
    """Run the mesh; returns the exit code of ``plait up``."""
    code = subprocess.run([PLAIT, "up", str(MESH)], check=False).returncode  # noqa: S603 - our own
    if code == 0:
        print(_FAREWELL)
    else:
        sys.stderr.write(f"End what runs of the demo with: {STOP}\n")
    return code


def main() -> int:
    """What the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=("start", "stop"), default="start")
    parser.add_argument("--check", action="store_true", help="try everything, beside any demo")
    given = parser.parse_args()
    if given.check:
        from examples.bookinfo import check

        return check.main(print)
    if given.command == "stop":
        return subprocess.run([PLAIT, "down"], check=False).returncode  # noqa: S603 - our own
    return start()


if __name__ == "__main__":
    sys.exit(main())
