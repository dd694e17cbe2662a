"""What is shown of the authority, and what is alarmed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plait.base.clock import ManualClock
from plait.base.errors import RefusedError
from plait.config.store import Store
from plait.serve.ca import authority, overview, rotation, run
from plait.serve.ca.ledger import Entry
from plait.serve.ca.run import CertificateAuthority, Options, Proxies, Seen
from tests.support.certifying import played
from tests.support.stores import running

DAY = 86_400.0
Told = Callable[[CertificateAuthority, ManualClock], Awaitable[None]]


def told(home: Path, story: Told, *connected: str) -> None:
    """An authority whose clock stands still, with these proxies connected."""

    async def play() -> None:
        async with running() as store:
            ca = made(home, store, connected)
            await ca.open()
            assert isinstance(store.clock, ManualClock)
            await story(ca, store.clock)

    played(play)


def made(home: Path, store: Store, connected: tuple[str, ...]) -> CertificateAuthority:
    seen = tuple(Seen(proxy=one, holds=True) for one in connected)
    proxies = Proxies(seen=lambda: seen, follow=lambda _: lambda: None)
    return CertificateAuthority(Options(directory=home), store, lambda _: True, proxies)


def entry(ca: CertificateAuthority, proxy: str, life: float) -> Entry:
    now = ca.now()
    identity = "spiffe://cluster.local/ns/demo/sa/web"
    return Entry(proxy=proxy, identity=identity, at=now, not_before=now, not_after=now + life)


def test_a_fresh_authority_has_one_root_and_no_alarm(tmp_path: Path):
    async def story(ca: CertificateAuthority, _: ManualClock) -> None:
        page = overview.overview(ca)

        assert (page.phase, page.waits, page.alarms, page.problem) == ("steady", (), (), "")
        [root] = page.roots
        assert (root.role, root.is_due) == ("signing", False)
        assert root.fingerprint == authority.fingerprint(ca.roots.signer.certificate)

    told(tmp_path, story)


@pytest.mark.parametrize(("years", "words"), [(9.5, "expires in "), (10.5, "has expired")])
def test_a_root_that_is_about_to_expire_is_alarmed(tmp_path: Path, years: float, words: str):
    async def story(ca: CertificateAuthority, clock: ManualClock) -> None:
        clock.advance(years * 365 * DAY)

        [alarm] = overview.alarms(ca)
        assert words in alarm
        assert "plait ca rotate" in alarm

    told(tmp_path, story)


def test_a_certificate_that_is_not_renewed_is_due_and_then_expired(tmp_path: Path):
    node = "sidecar~10.0.0.1~here.demo~demo.svc.cluster.local"

    async def story(ca: CertificateAuthority, clock: ManualClock) -> None:
        ca.ledger.add(entry(ca, node, DAY))
        ca.ledger.add(entry(ca, "away", DAY))
        states = []
        for hours in (0, 15, 2, 8):
            clock.advance(hours * 3600)
            away, here = overview.certificates(ca)
            states.append((here.state, len(overview.alarms(ca))))
            assert (here.connected, away.connected) == (True, False)

        assert states == [("OK", 0), ("OK", 0), ("DUE", 1), ("EXPIRED", 1)]
        assert " here.demo has expired" in overview.alarms(ca)[0]
        assert "away" not in overview.alarms(ca)[0]

    told(tmp_path, story, node)


def test_who_is_waited_for_is_shown(tmp_path: Path):
    async def story(ca: CertificateAuthority, clock: ManualClock) -> None:
        ca.ledger.add(entry(ca, "away", DAY))
        await ca.rotate(force=False)
        clock.advance(100)
        page = overview.overview(ca)

        assert (page.phase, page.age, len(page.roots)) == ("trusting", 100, 2)
        assert [(w.proxy, w.reason, w.left) for w in page.waits] == [
            ("away", "is not connected", 200)
        ]

    told(tmp_path, story)


def test_the_list_of_certificates_stays_short_while_nobody_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def story(ca: CertificateAuthority, _: ManualClock) -> None:
        for number in range(1100):
            ca.ledger.add(entry(ca, "here", DAY + number))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ca.run())
            while (tmp_path / "issued.jsonl").stat().st_size > 1000:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            task.cancel()

        assert [one.proxy for one in overview.certificates(ca)] == ["here"]

    monkeypatch.setattr(run, "_SWEEP", 0.0)
    told(tmp_path, story, "here")


@pytest.mark.parametrize("ask", [lambda ca: ca.rotate(force=True), CertificateAuthority.abort])
def test_what_is_asked_of_a_rotation_that_went_on_meanwhile_is_refused(tmp_path: Path, ask):
    async def story(ca: CertificateAuthority, _: ManualClock) -> None:
        await ca.rotate(force=False)
        before, busy = ca.roots.state, threading.Event()
        after, actions = rotation.step(before, rotation.Evidence(), ca.now(), 0.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(ca.work(busy.wait, 20))
            group.create_task(ca.work(ca.roots.move, before, after, actions))
            asked = group.create_task(refused(ask(ca)))
            await asyncio.sleep(0)
            busy.set()

        assert "went on meanwhile" in asked.result()
        assert ca.roots.state == after

    async def refused(answer: Awaitable[None]) -> str:
        with pytest.raises(RefusedError) as error:
            await answer
        return str(error.value)

    told(tmp_path, story)
