"""What agents show and trust where connections are encrypted: files in one directory.

All agents of a benchmark have one key, so that no time goes into making keys while servers are
measured; each has a join token of its own.
"""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import grpc

from plait.agent import identity
from plait.base.clock import WallClock
from plait.serve import signing
from plait.serve.ca import authority
from plait.serve.ca.tokens import Tokens
from plait.xds import certificates

NAMESPACE, ACCOUNT = "bench", "default"
IDENTITY = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{ACCOUNT}"
NAME = "localhost"
"""Of every server."""
_HOUR = 3600.0
_PATIENCE = 60.0  # seconds that an answer may take


class Papers:
    """The files.

    Attributes:
        root: whom agents trust, in PEM.
        chain, key, csr: of all agents.
        server, server_key: what a server shows that has no authority of its own.
        tokens: one in each line; `digests` is how a control plane knows them.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root.pem"
        self.chain, self.key = directory / "agent.pem", directory / "agent.key"
        self.csr = directory / "agent.csr"
        self.server, self.server_key = directory / "server.pem", directory / "server.key"
        self.tokens, self.digests = directory / "tokens", directory / "tokens.json"

    def make(self, tokens: int) -> None:
        """Make a key, what is asked for with it, and tokens."""
        key = identity.new_key()
        self.key.write_text(identity.key_text(key))
        self.csr.write_text(identity.request(key, IDENTITY))
        store, now = Tokens(self.digests), WallClock().now()
        made = [store.create(NAMESPACE, ACCOUNT, _HOUR, now) for _ in range(tokens)]
        self.tokens.write_text("\n".join(made))

    def issue(self) -> None:
        """Make an authority, and certificates for agents and a server of it."""
        now = WallClock().now()
        root = authority.self_signed("cluster.local", now)
        csr = authority.checked(self.csr.read_text())
        shown = signing.server_certificate(root, (NAME,), now)
        self.root.write_text(root.root)
        self.chain.write_text("".join(authority.issue(root, csr, IDENTITY, _HOUR, now).chain))
        self.server.write_text(shown.chain)
        self.server_key.write_text(shown.key)

    def give(self, data: Path) -> None:
        """Let a control plane that is not started yet know the tokens."""
        keys = data / "ca"
        keys.mkdir(0o700)
        shutil.copy(self.digests, keys / "tokens.json")

    def join(self, data: Path, address: str) -> None:
        """Trust a running control plane, and get the agents' certificate for the last token."""
        roots = "".join(path.read_text() for path in (data / "ca").glob("*.crt"))
        self.root.write_text(roots)
        token = self.tokens.read_text().splitlines()[-1]
        said = ((certificates.CREDENTIAL, f"Bearer {token}"),)
        asked = certificates.request(self.csr.read_text(), 0, {})
        trusting = grpc.ssl_channel_credentials(roots.encode())
        with grpc.secure_channel(address, trusting) as channel:
            sign = channel.unary_unary(certificates.METHOD)
            answer: bytes = sign(asked, timeout=_PATIENCE, metadata=said)
        self.chain.write_text("".join(certificates.read_response(answer)))

    def context(self, *, member: bool) -> ssl.SSLContext:
        """How an agent connects; `member`: it shows its certificate."""
        found = ssl.create_default_context(cafile=str(self.root))
        found.set_alpn_protocols(["h2"])
        if member:
            found.load_cert_chain(self.chain, self.key)
        return found


@contextmanager
def made(tokens: int) -> Iterator[Callable[[], Papers | None]]:
    """A way to get a copy for each server, all with the same key and tokens.

    Without tokens it gives None: nothing is encrypted.
    """
    if not tokens:
        yield lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="plait-papers-") as top:
        first = Path(top) / "first"
        first.mkdir()
        Papers(first).make(tokens)
        numbers = count()
        yield lambda: Papers(shutil.copytree(first, Path(top) / str(next(numbers))))
