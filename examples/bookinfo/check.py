"""The whole story of a demo, acted out: started, changed in every way, hurt and stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from examples.bookinfo import demo, mesh, place, processes
from examples.bookinfo.visitor import BLACK, NO_STARS, RED, Visitor

NETWORKING = Path(__file__).parent / "networking"

_PATIENCE = 30.0  # seconds within which what must happen has to
_START = 120.0  # and the start, on a busy machine

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
        path = Path(top) / "demo"
        with started(path):
            user = User(path, say)
            user.opens_the_page()
            user.sees_all_versions()
            user.edits_a_file()
            user.applies_with_plait()
            user.applies_with_kubectl()
            user.signs_in_as_jason()
            user.starts_it_again()
            user.sees_a_service_fail()
            user.stops_it()
        say("ok  nothing is left: no process, no socket, no file")


class started:  # noqa: N801 - used as a function
    """A demo in `path` as a process of its own, which is there in full; ended at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "examples.bookinfo.demo", "--place", str(self._path))
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command, cwd=demo.ROOT, stdout=subprocess.DEVNULL
        )
        try:
            within(_START, self._is_ready, "the demo is up")
        except BaseException:
            self.__exit__()
            raise
        return self._process

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise CheckError(f"the demo ended with exit code {self._process.returncode}")
        return bool(place.state(self._path).get("ready"))

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(place.STOPPING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        place.stop(self._path)


class User:
    """Somebody with a browser, an editor and a terminal."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path = path
        self._say = say
        self._state = place.state(path)
        self._layout = mesh.layout(path / "mesh")
        self._page = Visitor(self._layout.gateway)
        self._kubectl = shutil.which("kubectl", path=f"{Path(demo.PLAIT).parent}:{_path()}")

    def opens_the_page(self) -> None:
        """It is complete."""
        seen = self._page.load()
        expect(seen.status == 200 and not seen.failures, f"the page shows {seen}")
        self._say(f"ok  {self._state['url']} after {self._state['seconds']:.1f} s")

    def sees_all_versions(self) -> None:
        """Sixty loads show reviews without stars, with black and with red ones."""
        seen = self._page.loads(60)
        expect(set(seen) == {NO_STARS, BLACK, RED}, f"60 loads showed {_told(seen)}")
        self._say(f"ok  60 loads: {_told(seen)}")

    def edits_a_file(self) -> None:
        """A weight changed in the working copy is obeyed as soon as it is saved."""
        file = self._path / "mesh" / "routing.yaml"
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
        self._plait("destination-rule-all.yaml")
        said = self._plait("virtual-service-all-v1.yaml")
        self._sees({NO_STARS}, 20)
        self._say(f"ok  plait apply --wait: no stars at once ({said})")

    def applies_with_kubectl(self) -> None:
        """``kubectl apply`` changes the same; left out where there is no kubectl."""
        if self._kubectl is None:
            self._say("--  kubectl is not installed: not checked")
            return
        file = str(NETWORKING / "virtual-service-reviews-50-v3.yaml")
        said = self._run(self._kubectl, "apply", "-f", file)
        within(_PATIENCE, lambda: self._shows({NO_STARS, RED}, 20), "kubectl apply takes effect")
        self._say(f"ok  kubectl apply: half without, half with red stars ({said})")

    def signs_in_as_jason(self) -> None:
        """One user is sent elsewhere than all the others."""
        self._plait("virtual-service-reviews-test-v2.yaml")
        jason = Visitor(self._layout.gateway)
        jason.sign_in("jason")
        seen = jason.loads(10)
        expect(set(seen) == {BLACK}, f"jason sees {_told(seen)}, not only {BLACK}")
        self._sees({NO_STARS}, 10)
        self._say("ok  jason sees black stars, everybody else none")

    def starts_it_again(self) -> None:
        """A second demo in the same place says that and where one is running."""
        place_ = ("--place", str(self._path))
        command = (sys.executable, "-m", "examples.bookinfo.demo", *place_)
        done = subprocess.run(  # noqa: S603 - our own
            command, cwd=demo.ROOT, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        is_told = done.returncode == 1 and self._state["url"] in done.stderr
        expect(is_told, f"a second demo does not say where the first is: {done.stderr}")
        self._say("ok  a second demo says where the first one is")

    def sees_a_service_fail(self) -> None:
        """A killed service is named on the page, which goes on without it."""
        (victim,) = [
            pid
            for pid in processes.running(self._state["token"])
            if b"examples.bookinfo.services.details" in _command(pid)
        ]
        os.kill(victim, signal.SIGKILL)
        within(
            _PATIENCE,
            lambda: self._page.load().failures == ("details are unavailable: 503",),
            "the page names the service that fails",
        )
        self._say("ok  details was killed: the page says so and shows the rest")

    def stops_it(self) -> None:
        """``scripts/demo stop`` leaves nothing: no process, no socket, no file."""
        token, numbers = self._state["token"], place.state(self._path)["base_ids"]
        expect(len(processes.running(token)) >= 10, "processes of the demo are not found")
        expect(place.stop(self._path), "the demo was gone before it was stopped")
        expect(not (left := processes.running(token)), f"processes are left: {left}")
        for address in self._addresses():
            host, _, port = address.rpartition(":")
            expect(mesh.is_free(host, int(port)), f"something still listens on {address}")
        files = [self._path, *map(processes.shared_memory, numbers)]
        expect(not (kept := [str(f) for f in files if f.exists()]), f"files are left: {kept}")

    def _addresses(self) -> list[str]:
        services = (f"{one.host}:{one.port}" for one in self._layout.instances)
        return [self._layout.gateway, self._layout.proxy, self._state["api"], *services]

    def _shows(self, wanted: set[str], count: int) -> bool:
        return set(self._page.loads(count)) == wanted

    def _sees(self, wanted: set[str], count: int) -> None:
        seen = self._page.loads(count)
        expect(set(seen) == wanted, f"{count} loads show {_told(seen)}, not {_named(wanted)}")

    def _plait(self, name: str) -> str:
        """Apply one of the examples; the last line of what it says."""
        return self._run(demo.PLAIT, "apply", "-f", str(NETWORKING / name), "--wait")

    def _run(self, *command: str) -> str:
        """Run a command as a user would who has read the demo's variables."""
        source = (self._path / "env").as_posix()
        done = subprocess.run(  # noqa: S603 - our own
            ("/bin/sh", "-c", '. "$0" && exec "$@"', source, *command),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        expect(done.returncode == 0, f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
        return done.stdout.strip().rpartition("\n")[2]


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


def _command(pid: int) -> Sequence[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ()


def _path() -> str:
    return os.getenv("PATH", os.defpath)
