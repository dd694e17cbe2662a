"""The whole story of a demo, acted out: started, changed in every way, hurt and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.bookinfo.demo import MESH, PLAIT
from examples.bookinfo.visitor import BLACK, NO_STARS, RED, Visitor

NETWORKING = Path(__file__).parent / "networking"
NAMESPACES = Path("/run/netns")
_SHARED = re.compile(r"/dev/shm/envoy_shared_memory_\d+")  # noqa: S108 - where Envoys meet

_PODS = 7  # six services and the gateway
_PATIENCE = 30.0  # seconds within which what must happen has to
_START = 180.0  # and the start, on a busy machine

Say = Callable[[str], None]


class CheckError(Exception):
    """Something is not as it must be; the message says what."""


def main(say: Say) -> int:
    """Run the story; 1, with one line that says why, at the first failure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        story(say)
    except KeyboardInterrupt:
        return 130
    except (CheckError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"error: check failed: {error}\n")
        return 1
    say("all is well")
    return 0


def story(say: Say) -> None:
    """Start a demo beside any other, use it, stop it.

    Raises:
        CheckError: at the first thing that is not as it must be.
    """
    with tempfile.TemporaryDirectory(prefix="plait-check-") as top:
        Path(top).chmod(0o755)  # Envoys, of another user, have their sockets below
        with Demo(Path(top)) as demo:
            user = User(demo, say)
            user.opens_the_page()
            user.sees_all_versions()
            user.edits_a_file()
            user.applies_with_plait()
            user.applies_with_kubectl()
            user.signs_in_as_jason()
            user.starts_it_again()
            user.sees_a_service_fail()
            user.stops_it()
    say("ok  nothing is left: no process, no namespace, no socket, no file")


class Demo:
    """A copy of bookinfo that runs, with a gateway port of its own; ended at the end."""

    def __init__(self, top: Path) -> None:
        self.mesh = top / "mesh"
        self.data = top / "data"
        self.gateway = f"127.0.0.1:{_free_port()}"
        self.environment = {**os.environ, "PLAIT_SERVER": f"unix:{self.data / 'api.sock'}"}  # noqa: TID251
        shutil.copytree(MESH, self.mesh)
        file = self.mesh / "gateway.yaml"
        port = self.gateway.rpartition(":")[2]
        file.write_text(file.read_text().replace("number: 8080", f"number: {port}"))

    def __enter__(self) -> Demo:
        try:
            since = time.monotonic()
            self.said = self.plait("up", *self._where, seconds=_START)
            self.seconds = time.monotonic() - since
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.data.exists():
            self.plait("down", "--data", str(self.data))

    def again(self) -> str:
        """What a second start says."""
        return self.plait("up", *self._where)

    @property
    def _where(self) -> tuple[str, ...]:
        images = ("--images", str(MESH / "images.toml"))
        return (str(self.mesh), "--data", str(self.data), *images)

    def plait(self, *arguments: str, seconds: float = _PATIENCE) -> str:
        """Run plait; what it said."""
        return self.run(PLAIT, *arguments, seconds=seconds)

    def run(self, *command: str, seconds: float = _PATIENCE) -> str:
        """Run a command as a user of this mesh; what it said."""
        done = subprocess.run(  # noqa: S603 - our own
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said = done.stdout + done.stderr
        expect(done.returncode == 0, f"{' '.join(command)} failed: {said}")
        return said.strip()


class User:
    """Somebody with a browser, an editor and a terminal."""

    def __init__(self, demo: Demo, say: Say) -> None:
        self._demo = demo
        self._say = say
        self._page = Visitor(demo.gateway)
        self._kubectl = shutil.which("kubectl")

    def opens_the_page(self) -> None:
        """It is complete."""
        seen = self._page.load()
        expect(seen.status == 200 and not seen.failures, f"the page shows {seen}")
        told = re.search(r"up after .*", self._demo.said)
        self._say(f"ok  the page after {self._demo.seconds:.1f} s ({told.group() if told else ''})")

    def sees_all_versions(self) -> None:
        """Sixty loads show reviews without stars, with black and with red ones."""
        seen = self._page.loads(60)
        expect(set(seen) == {NO_STARS, BLACK, RED}, f"60 loads showed {_told(seen)}")
        self._say(f"ok  60 loads: {_told(seen)}")

    def edits_a_file(self) -> None:
        """A weight changed in the working copy is obeyed as soon as it is saved."""
        file = self._demo.mesh / "routing.yaml"
        weights = iter(("0", "0", "100"))
        text = re.sub(r"(?<=weight: )\d+", lambda _: next(weights), file.read_text())
        since = time.monotonic()
        file.write_text(text)
        within(_PATIENCE, lambda: self._shows({RED}, 20), "an edited file takes effect")
        seconds = time.monotonic() - since
        self._sees({RED}, 20)
        self._say(f"ok  a file was edited: only red stars, {seconds:.1f} s after it was saved")

    def applies_with_plait(self) -> None:
        """``plait apply --wait`` returns when the next load obeys."""
        self._apply("destination-rule-all.yaml")
        said = self._apply("virtual-service-all-v1.yaml")
        self._sees({NO_STARS}, 20)
        self._say(f"ok  plait apply --wait: no stars at once ({said})")

    def applies_with_kubectl(self) -> None:
        """``kubectl apply`` changes the same; left out where there is no kubectl."""
        if self._kubectl is None:
            self._say("--  kubectl is not installed: not checked")
            return
        server = (self._demo.data / "api.address").read_text().strip()
        file = str(NETWORKING / "virtual-service-reviews-50-v3.yaml")
        said = self._demo.run(self._kubectl, "--server", f"http://{server}", "apply", "-f", file)
        within(_PATIENCE, lambda: self._shows({NO_STARS, RED}, 20), "kubectl apply takes effect")
        self._say(f"ok  kubectl apply: half without, half with red stars ({said})")

    def signs_in_as_jason(self) -> None:
        """One user is sent elsewhere than all the others."""
        self._apply("virtual-service-reviews-test-v2.yaml")
        jason = Visitor(self._demo.gateway)
        jason.sign_in("jason")
        seen = jason.loads(10)
        expect(set(seen) == {BLACK}, f"jason sees {_told(seen)}, not only {BLACK}")
        self._sees({NO_STARS}, 10)
        self._say("ok  jason sees black stars, everybody else none")

    def starts_it_again(self) -> None:
        """A second start finds the first."""
        said = self._demo.again()
        expect("it runs already" in said and self._demo.gateway in said, f"up again says: {said}")
        self._say("ok  a second plait up finds the first")

    def sees_a_service_fail(self) -> None:
        """A service without instances is named on the page, which goes on without it."""
        self._demo.plait("scale", "deployment/details-v1", "--replicas", "0")
        within(
            _PATIENCE,
            lambda: self._page.load().failures == ("details are unavailable: 503",),
            "the page names the service that fails",
        )
        self._demo.plait("scale", "deployment/details-v1", "--replicas", "1")
        within(_PATIENCE, lambda: not self._page.load().failures, "the service is back")
        self._say("ok  details was scaled to 0: the page says so and shows the rest; and back")

    def stops_it(self) -> None:
        """``plait down`` leaves nothing: no process, no namespace, no socket, no file."""
        demo = self._demo
        before = traces(str(demo.data))
        expect(len(before) > 2 * _PODS, f"of the demo there is only {sorted(before)}")
        demo.plait("down", "--data", str(demo.data))
        expect(not (alive := processes(str(demo.data))), f"processes are left: {alive}")
        left = [path for path in sorted(before) if Path(path).exists()]
        expect(not left, f"this is left: {left}")
        expect(not demo.data.exists(), f"{demo.data} is left")
        host, _, port = demo.gateway.rpartition(":")
        expect(_is_free(host, int(port)), f"something still listens on {demo.gateway}")

    def _shows(self, wanted: set[str], count: int) -> bool:
        return set(self._page.loads(count)) == wanted

    def _sees(self, wanted: set[str], count: int) -> None:
        seen = self._page.loads(count)
        expect(set(seen) == wanted, f"{count} loads show {_told(seen)}, not {_named(wanted)}")

    def _apply(self, name: str) -> str:
        """Apply one of the examples; the last line of what is said."""
        said = self._demo.plait("apply", "-f", str(NETWORKING / name), "--wait")
        return said.rpartition("\n")[2]


def traces(word: str) -> set[str]:
    """Network namespaces, and what Envoys share, of the mesh whose processes name `word`."""
    found: set[str] = set()
    for pid in processes(word):
        with contextlib.suppress(OSError):  # it just ended
            network = Path(f"/proc/{pid}/ns/net").stat().st_ino
            found |= {str(path) for path in _namespaces() if path.stat().st_ino == network}
            found |= set(_SHARED.findall(Path(f"/proc/{pid}/maps").read_text()))
    return found | {name.rpartition("-")[0] for name in found if name.startswith(str(NAMESPACES))}


def _namespaces() -> list[Path]:
    return list(NAMESPACES.iterdir()) if NAMESPACES.exists() else []


def processes(word: str) -> list[int]:
    """Processes with `word` in their command lines, but this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(set(found) - {os.getpid()})


def expect(holds: Any, otherwise: str) -> None:
    """Go on if it holds.

    Raises:
        CheckError: it does not.
    """
    if not holds:
        raise CheckError(otherwise)


def within(seconds: float, holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds.

    Raises:
        CheckError: it took too long.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def _told(seen: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))


def _named(wanted: set[str]) -> str:
    return " and ".join(sorted(wanted))


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock.connect_ex((host, port)) != 0


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
