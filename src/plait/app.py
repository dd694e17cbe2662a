"""The composition root: settings, sources, the store, the doors, joined and run."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from plait import machine
from plait.base.clock import WallClock
from plait.base.crowd import allow_files
from plait.base.errors import PlaitError
from plait.base.query import Drained, show
from plait.config.allocation import Allocation
from plait.config.batching import Limits
from plait.config.meta import Key
from plait.config.restore import Kinds
from plait.config.store import Store, Tuning
from plait.platforms.local.pods import Platform
from plait.serve import doors
from plait.serve.ads import Ads
from plait.serve.api import app as api
from plait.serve.api.backend import Backend
from plait.serve.api.guard import Residents
from plait.serve.api.lock import Lock, from_files
from plait.serve.api.tokens import Tokens
from plait.serve.ca import overview
from plait.serve.ca.connected import proxies
from plait.serve.ca.run import CertificateAuthority, Options
from plait.serve.ca.serving import Serving
from plait.serve.doors import Door, Shown
from plait.serve.pages import MeshPages
from plait.settings import Settings, became_root
from plait.sources.files import Files
from plait.sources.mesh_config import follow as follow_mesh_config

_log = structlog.get_logger(__name__)
COLLECT = 1.0
"""Seconds between two looks for memos that nobody needs any more."""
WHOLE = 600
"""Looks for garbage of which one goes through everything that is not put aside."""
MANY = 50_000
"""New objects in that time that count as a load of configuration."""


async def run(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises:
        PlaitError: a setting, the data directory or an address is wrong; nothing is left running.
    """
    allow_files()
    kinds = Kinds.known(Allocation() if settings.local else None)
    store = await Store.open(settings.data, WallClock(), kinds=kinds, tuning=_tuning(settings))
    try:
        await _serve(settings, store)
    except BaseExceptionGroup as group:
        known = group.subgroup(PlaitError)
        if known is None:
            raise
        raise _first(known) from None
    finally:
        await store.close()


def _first(error: BaseException) -> BaseException:
    """What a user can act on: of several things that went wrong at once, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tuning(settings: Settings) -> Tuning:
    return Tuning(
        batching=Limits(least=settings.push_least, most=settings.push_most),
        keep=settings.keep_revisions,
        source_deadline=settings.source_deadline,
    )


async def _serve(settings: Settings, store: Store) -> None:
    if not settings.local:
        await _serve_from(settings, store, None)
        return
    async with machine.platform(settings) as platform:
        await _serve_from(settings, store, platform)


async def _serve_from(settings: Settings, store: Store, platform: Platform | None) -> None:
    """Serve what the store holds; with a platform, run it too."""
    doors.see_plain(settings.xds, insecure=settings.insecure_xds)
    ads = Ads(store)
    place = settings.place if platform else None
    ca = _authority(settings, store, ads, platform)
    await ca.open()
    shown = _shown(settings, store, ca)
    lock = _lock(settings, store, shown)
    pages = MeshPages(store, ads, partial(overview.alarms, ca))
    backend = Backend(
        store=store,
        pages=pages,
        place=place,
        runtime=platform,
        ca=ca,
        is_open=ads.started.is_set,
    )
    store.listen(_Faults(store).on_drained)
    stopping = asyncio.Event()
    with _signals(stopping):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.run(), name="store")]
            if settings.files is not None:
                files = Files(settings.files)
                tasks.append(group.create_task(store.feed(files), name="source:files"))
            if settings.mesh_config is not None:
                following = follow_mesh_config(settings.mesh_config, store)
                tasks.append(group.create_task(following, name="source:mesh-config"))
            if platform is not None:
                running = machine.run(settings, store, platform)
                tasks.append(group.create_task(running, name="machine"))
            tasks += [
                group.create_task(ca.run(), name="ca"),
                group.create_task(_ads(settings, ads, ca, shown), name="ads"),
                group.create_task(_api(settings, backend, lock), name="api"),
                group.create_task(_tidy(store), name="tidy"),
            ]
            await stopping.wait()
            for task in tasks:
                task.cancel()


def _authority(
    settings: Settings, store: Store, ads: Ads, platform: Platform | None
) -> CertificateAuthority:
    """Who gives identities: to Pods of this machine, and to who shows a credential."""
    options = Options(
        directory=settings.ca,
        plugged=settings.ca_dir,
        life=settings.certificate_life,
        grace=settings.rotation_grace,
    )

    def runs_here(pod: Key) -> bool:
        return platform is not None and platform.status(pod) is not None

    return CertificateAuthority(options, store, runs_here, proxies(store, ads))


async def _ads(settings: Settings, ads: Ads, ca: CertificateAuthority, shown: Shown | None) -> None:
    """Serve proxies, and with a platform its agent at a socket that only our user can reach.

    Not before the store has whom the mesh trusts: returning proxies would be told it is gone.
    """
    await ca.told.wait()
    addresses = settings.xds
    if settings.local:
        directory = settings.agent_socket.parent
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        addresses = (*addresses, f"unix:{settings.agent_socket}")
    services = (ca.service(trusts=False),)
    doors = (
        Door(addresses=settings.xds_tls, is_for_members=True, services=services),
        Door(addresses=settings.join, is_for_members=False, services=services),
    )
    await ads.serve(addresses, lambda private: (ca.service(trusts=private),), doors, shown)


def _shown(settings: Settings, store: Store, ca: CertificateAuthority) -> Shown | None:
    """What servers of ours show, with a certificate of the mesh; None: none of them has TLS."""
    is_api = settings.api_tls and settings.api_cert is None
    if not (settings.xds_tls or settings.join or is_api):
        return None
    addresses = (*settings.xds_tls, *settings.join, *(settings.api if is_api else ()))
    names = doors.names(settings.xds_name, addresses)
    return Shown(Serving(ca, store.clock), names, store.clock)


def _lock(settings: Settings, store: Store, shown: Shown | None) -> Lock | None:
    """The lock of the API, if it shall have one."""
    if not settings.api_tls:
        return None
    tokens = Tokens(settings.data / "doors", store.clock)
    if settings.api_cert and settings.api_key:
        pair = from_files(settings.api_cert, settings.api_key)
        return Lock(tokens, pair, runs=settings.local)
    return Lock(tokens, lambda: shown.pair, runs=settings.local) if shown else None


async def _api(settings: Settings, backend: Backend, lock: Lock | None) -> None:
    """Serve the API; meanwhile its address stands where the command line looks for it.

    With a lock there is a socket beside it for our own user, who makes the first token.
    """
    note, addresses = settings.api_note, settings.api
    shared = Residents.named((*settings.api_user, *became_root()))
    if lock and not any(one.startswith(api.UNIX) for one in addresses):
        addresses = (*addresses, f"{api.UNIX}{settings.data / 'api.sock'}")

    def tell(opened: tuple[str, ...]) -> None:
        sockets = [one for one in opened if one.startswith(api.UNIX)]
        note.write_text((sockets[0] if lock else opened[0]) + "\n")

    try:
        await api.serve(backend, addresses, lock=lock, residents=shared, ready=tell)
    finally:
        note.unlink(missing_ok=True)


async def _tidy(store: Store) -> None:
    """Forget what nobody needs, a little at a time.

    The garbage collector runs here alone.  By itself it would look through everything that is
    kept whenever much is made at once: at 10,000 services that doubles the time to compile them
    and stops the loop for seconds.  What is made in great numbers lasts, and what of it is
    dropped has no cycles; so it is put aside unseen, and only the rest is looked through.
    """
    gc.disable()
    rounds = 0
    try:
        while True:
            found = store.engine.collect(0.002)
            await asyncio.sleep(0 if found else COLLECT)
            if not found:
                rounds += 1
                _collect_garbage(whole=rounds % WHOLE == 0)
    finally:
        gc.enable()


def _collect_garbage(*, whole: bool) -> None:
    if gc.get_count()[0] > MANY:
        gc.freeze()
    else:
        gc.collect(2 if whole else 1)


class _Faults:
    """Logs a query that raises once when it does, and once when it recovers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_drained(self, drained: Drained, revision: int) -> None:
        failing = self._store.engine.failures() if drained.failures else {}
        for call in drained.failures:
            if (error := failing.get(call)) is None:
                _log.info("query recovered", query=show(call), revision=revision)
            else:
                _log.error(
                    "query failed",
                    query=show(call),
                    revision=revision,
                    error=repr(error),
                    exc_info=error,
                )


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the run in an orderly way."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
