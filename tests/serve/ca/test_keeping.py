"""What the authority keeps: keys, roots and the rotation, tokens, who has which certificate."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from plait.base.errors import AuthorityError, RefusedError, UnknownCallerError
from plait.serve.ca import authority, plugged, rotation
from plait.serve.ca.keyring import Keyring
from plait.serve.ca.ledger import Entry, Ledger
from plait.serve.ca.roots import Roots
from plait.serve.ca.rotation import Evidence, Phase
from plait.serve.ca.tokens import Tokens
from tests.support.issuing import DAY, Authority, plug, private, text

NOW = 1_900_000_000.0
DOMAIN = "cluster.local"


def opened(directory: Path, source: Path | None = None) -> Roots:
    roots = Roots(directory, source)
    roots.open(DOMAIN, NOW)
    return roots


def turned(roots: Roots) -> None:
    """One phase further, with nobody to wait for."""
    before = roots.state
    after, actions = rotation.step(before, Evidence(), NOW)
    assert roots.move(before, after, actions)


def authorities(
    name: str = "root",
    above: Authority | None = None,
    **more: Any,
) -> Authority:
    return Authority(name, above, now=datetime.fromtimestamp(NOW, UTC), **more)


# Roots of our own making


def test_the_first_start_makes_a_root_that_is_there_after_a_restart(tmp_path: Path):
    first = opened(tmp_path / "ca")
    again = opened(tmp_path / "ca")

    assert first.trusted == again.trusted == (first.signer.root,)
    assert again.signer.key.public_key() == first.signer.certificate.public_key()


def test_keys_and_their_directory_are_for_our_own_user_alone(tmp_path: Path):
    opened(tmp_path / "ca")

    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_directory_that_was_open_to_others_is_closed(tmp_path: Path):
    (tmp_path / "ca").mkdir(mode=0o755)
    opened(tmp_path / "ca")

    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_a_start_that_was_killed_before_its_end_is_gone_on_with(tmp_path: Path):
    first = opened(tmp_path)
    (tmp_path / "state.json").unlink()
    (tmp_path / ".state.json.new").write_text("{")

    assert first.trusted == opened(tmp_path).trusted


def test_a_phase_is_seen_with_the_roots_that_it_waits_for(tmp_path: Path):
    class Watched(Roots):
        """Seen by another thread in the moment in which the state is another."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "state" and hasattr(self, "trusted"):
                seen.append((self.state.phase, len(self.trusted)))

    seen: list[tuple[Phase, int]] = []
    roots = Watched(tmp_path, None)
    roots.open(DOMAIN, NOW)

    roots.rotate(DOMAIN, NOW, force=False)

    assert seen == [(Phase.STEADY, 1), (Phase.TRUSTING, 2)]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("state.json", "{", "is damaged"),
        ("*.key", "nothing", "not a private key"),
        ("*.key", "another", "is not the key of"),
        ("*.crt", "nothing", "not a certificate"),
        ("*.crt", "twice", "holds 2 certificates"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name, content, why):
    opened(tmp_path)
    [path] = tmp_path.glob(name)
    written = {"another": text(private()), "twice": path.read_bytes() * 2}
    path.write_bytes(written.get(content, content.encode()))

    with pytest.raises(AuthorityError, match=why) as raised:
        opened(tmp_path)
    assert path.name in str(raised.value)
    assert "PRIVATE" not in str(raised.value)


@pytest.mark.parametrize("phases", range(4))
def test_a_rotation_goes_on_after_a_restart_in_any_phase(tmp_path: Path, phases: int):
    roots = opened(tmp_path)
    before = roots.trusted
    roots.rotate(DOMAIN, NOW, force=False)
    for _ in range(phases):
        turned(roots)
    again = opened(tmp_path)

    assert (again.state, again.trusted) == (roots.state, roots.trusted)
    assert again.signer.root == roots.signer.root
    while again.state.phase is not Phase.STEADY:
        turned(again)
    assert len(again.trusted) == 1
    assert before != again.trusted


def test_the_key_of_the_old_root_is_destroyed_when_it_is_given_up(tmp_path: Path):
    roots = opened(tmp_path)
    roots.rotate(DOMAIN, NOW, force=False)
    counts = []
    while roots.state.phase is not Phase.STEADY:
        counts.append((roots.state.phase, len(list(tmp_path.glob("*.key")))))
        turned(roots)

    assert counts == [(Phase.TRUSTING, 2), (Phase.SIGNING, 2), (Phase.DROPPING, 1)]
    [kept] = tmp_path.glob("*.crt")
    assert kept.read_text() == roots.signer.root


def test_an_aborted_rotation_leaves_the_old_root_and_no_other_key(tmp_path: Path):
    roots = opened(tmp_path)
    before = roots.trusted
    roots.rotate(DOMAIN, NOW, force=False)
    roots.move(roots.state, *rotation.aborted(roots.state, NOW))

    assert before == roots.trusted == opened(tmp_path).trusted
    assert len(list(tmp_path.glob("*.key"))) == 1


@pytest.mark.parametrize("ending", ["dropped", "aborted"])
def test_a_key_is_destroyed_at_the_next_start_if_somebody_was_killed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
):
    roots = opened(tmp_path)
    roots.rotate(DOMAIN, NOW, force=False)
    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "destroy", lambda *_: None)
        if ending == "aborted":
            roots.move(roots.state, *rotation.aborted(roots.state, NOW))
        while roots.state.phase is not Phase.STEADY:
            turned(roots)

    again = opened(tmp_path)

    assert again.trusted == roots.trusted
    [kept] = tmp_path.glob("*.crt")
    assert kept.read_text() == again.signer.root
    assert [one.stem for one in tmp_path.glob("*.key")] == [kept.stem]


def test_a_decision_about_an_earlier_state_changes_nothing(tmp_path: Path):
    roots = opened(tmp_path)
    roots.rotate(DOMAIN, NOW, force=False)
    before = roots.state
    late = rotation.aborted(before, NOW)
    turned(roots)

    assert not roots.move(before, *late)
    assert roots.state.phase is Phase.SIGNING
    assert roots.signer.root in roots.trusted


def test_only_one_rotation_at_a_time(tmp_path: Path):
    roots = opened(tmp_path)
    roots.rotate(DOMAIN, NOW, force=False)

    with pytest.raises(RefusedError, match="under way"):
        roots.rotate(DOMAIN, NOW, force=False)
    assert len(list(tmp_path.glob("*.key"))) == 2


# The user's own authority


def test_an_intermediate_of_the_users_own_signs_under_its_root(tmp_path: Path):
    above = authorities()
    signer = authorities("between", above)
    plug(tmp_path / "own", signer, above)
    roots = opened(tmp_path / "ca", tmp_path / "own")

    assert (above.pem,) == roots.trusted
    assert (signer.pem,) == roots.signer.intermediates
    assert not list((tmp_path / "ca").glob("*.key"))
    with pytest.raises(RefusedError, match="your own"):
        roots.rotate(DOMAIN, NOW, force=False)


def looked(roots: Roots) -> None:
    """Twice: files that were just changed may change again."""
    for _ in range(2):
        roots.look(NOW)


def test_another_intermediate_is_taken_without_a_rotation(tmp_path: Path):
    above = authorities()
    plug(tmp_path / "own", authorities("one", above), above)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    second = authorities("two", above)
    plug(tmp_path / "own", second, above)
    looked(roots)

    assert roots.state.phase is Phase.STEADY
    assert (second.pem,) == roots.signer.intermediates
    assert (above.pem,) == roots.trusted


def test_another_root_is_gone_over_to_in_the_phases_of_a_rotation(tmp_path: Path):
    one, two = authorities("one"), authorities("two")
    plug(tmp_path / "own", one)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    plug(tmp_path / "own", two)
    looked(roots)
    assert (one.pem, two.pem) == roots.trusted
    assert one.pem == roots.signer.root
    while roots.state.phase is not Phase.STEADY:
        turned(roots)

    assert [two.pem] == list(roots.trusted)
    assert two.pem == opened(tmp_path / "ca", tmp_path / "own").signer.root


def test_a_mesh_goes_over_to_the_users_own_authority_and_back_in_phases(tmp_path: Path):
    first = opened(tmp_path / "ca").signer.root
    own = authorities()
    plug(tmp_path / "own", own)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    assert (first, own.pem) == roots.trusted
    assert first == roots.signer.root
    while roots.state.phase is not Phase.STEADY:
        turned(roots)
    back = opened(tmp_path / "ca")

    assert back.signer.root == back.trusted[0] != own.pem
    assert own.pem in back.trusted, "the key of the old one is gone, and it is trusted still"
    assert back.state.phase is Phase.SIGNING


def test_a_root_whose_key_is_gone_in_mid_rotation_signs_no_longer(tmp_path: Path):
    one, two = authorities("one"), authorities("two")
    plug(tmp_path / "own", one)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    plug(tmp_path / "own", two)
    looked(roots)
    again = opened(tmp_path / "ca", tmp_path / "own")

    assert (two.pem, one.pem) == again.trusted
    assert again.state.phase is Phase.SIGNING


def test_others_in_the_file_of_roots_are_trusted_as_well(tmp_path: Path):
    one, two = authorities("one"), authorities("two")
    plug(tmp_path / "own", one)
    (tmp_path / "own" / "root-cert.pem").write_text(two.pem + one.pem)

    assert (one.pem, two.pem) == opened(tmp_path / "ca", tmp_path / "own").trusted


def test_roots_that_cannot_be_kept_are_not_trusted_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one, two = authorities("one"), authorities("two")
    plug(tmp_path / "own", one)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    (tmp_path / "own" / "root-cert.pem").write_text(one.pem + two.pem)

    def full(self: Keyring, kept: object) -> None:
        raise AuthorityError("cannot use state.json: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "keep", full)
        looked(roots)
        assert ((one.pem,), True) == (roots.trusted, "No space" in roots.problem)
    looked(roots)

    assert ((one.pem, two.pem), "") == (roots.trusted, roots.problem)


UNFIT: dict[str, dict[str, Any]] = {
    "leaf": {"ca": False},
    "expired": {"ends": -0.5 * DAY},
    "early": {"begins": 0.5 * DAY},
    "usage": {"usage": authority._usage(signs=False)},
    "curve": {"key": ec.generate_private_key(ec.SECP256K1())},
}


def broken(directory: Path, how: str) -> None:
    other = authorities("other")
    match how:
        case "missing":
            (directory / "ca-key.pem").unlink()
        case "garbage":
            (directory / "ca-cert.pem").write_text("garbage")
        case "key":
            (directory / "ca-key.pem").write_bytes(text(other.key))
        case "chain":
            (directory / "root-cert.pem").write_text(other.pem)
        case name if name in UNFIT:
            plug(directory, authorities(name, **UNFIT[name]))
        case "between":
            root = authorities("root")
            between = authorities("between", root, ends=-0.5 * DAY)
            plug(directory, authorities("signer", between), between, root)
        case _:
            raise ValueError(how)


BROKEN = {
    "missing": "cannot read .*ca-key.pem",
    "garbage": "ca-cert.pem is not a certificate",
    "key": "ca-key.pem is not the key of",
    "chain": "cert-chain.pem does not lead",
    "leaf": "ca-cert.pem is not the certificate of an authority",
    "expired": "ca-cert.pem has expired",
    "early": "ca-cert.pem is not valid yet",
    "usage": "ca-cert.pem is for no signing",
    "curve": "ca-key.pem is on a curve that Envoy does not know",
    "between": "cert-chain.pem has expired",
}


@pytest.mark.parametrize(("how", "why"), BROKEN.items(), ids=BROKEN)
def test_a_broken_set_is_refused_with_the_file_at_fault(tmp_path: Path, how, why):
    plug(tmp_path, authorities())
    broken(tmp_path, how)

    with pytest.raises(AuthorityError, match=why) as raised:
        plugged.read(tmp_path, NOW)
    assert "PRIVATE" not in str(raised.value)


@pytest.mark.parametrize("how", BROKEN)
def test_a_set_that_breaks_leaves_the_last_good_one_in_force(tmp_path: Path, how):
    one = authorities()
    plug(tmp_path / "own", one)
    roots = opened(tmp_path / "ca", tmp_path / "own")
    broken(tmp_path / "own", how)
    looked(roots)
    assert roots.problem
    assert (one.pem,) == roots.trusted
    assert one.pem == roots.signer.root
    plug(tmp_path / "own", one)
    looked(roots)

    assert not roots.problem


def test_a_third_root_waits_for_the_end_of_a_rotation(tmp_path: Path):
    plug(tmp_path / "own", authorities("one"))
    roots = opened(tmp_path / "ca", tmp_path / "own")
    for name in ("two", "three"):
        plug(tmp_path / "own", authorities(name))
        looked(roots)

    assert "under way" in roots.problem
    assert len(roots.trusted) == 2


# Tokens


def test_a_token_gives_its_identity_once(tmp_path: Path):
    tokens = Tokens(tmp_path / "tokens.json")
    made = tokens.create("demo", "billing", 60, NOW)
    spent = tokens.spend(made, NOW + 1)

    assert (spent.namespace, spent.account) == ("demo", "billing")
    with pytest.raises(UnknownCallerError, match="was used"):
        tokens.spend(made, NOW + 2)


def test_a_used_token_is_refused_after_a_restart_too(tmp_path: Path):
    tokens = Tokens(tmp_path / "tokens.json")
    used, fresh = (tokens.create("demo", "billing", 60, NOW) for _ in range(2))
    tokens.spend(used, NOW)
    again = Tokens(tmp_path / "tokens.json")
    again.load()

    with pytest.raises(UnknownCallerError, match="was used"):
        again.spend(used, NOW)
    assert again.spend(fresh, NOW).used == NOW


def test_a_token_that_is_used_is_added_to_a_file_and_the_list_is_not_written_anew(tmp_path: Path):
    tokens = Tokens(tmp_path / "tokens.json")
    used, torn, fresh = (tokens.create("demo", "billing", 60, NOW) for _ in range(3))
    before = (tmp_path / "tokens.json").stat().st_ino
    tokens.spend(used, NOW)
    with (tmp_path / "tokens.json.used").open("a") as file:
        file.write(torn.removeprefix("plait-").partition(".")[0])  # cut off by a crash

    again = Tokens(tmp_path / "tokens.json")
    again.load()
    assert (tmp_path / "tokens.json").stat().st_ino == before
    assert {t.used for t in again.known(NOW)} == {NOW, None}
    assert again.spend(torn, NOW).used == NOW

    for _ in range(2):
        last = Tokens(tmp_path / "tokens.json")
        last.load()
        for one in (used, torn):
            with pytest.raises(UnknownCallerError, match="was used"):
                last.check(one, NOW)
        assert last.check(fresh, NOW).used is None
        last.create("demo", "billing", 60, NOW)  # which writes the list anew
    assert not (tmp_path / "tokens.json.used").exists()


def test_what_is_kept_of_tokens_gives_nobody_an_identity(tmp_path: Path):
    tokens = Tokens(tmp_path / "tokens.json")
    made = tokens.create("demo", "billing", 60, NOW)
    secret = made.rpartition(".")[2]
    [token] = tokens.known(NOW)

    assert secret not in (tmp_path / "tokens.json").read_text()
    for guess in (f"plait-{token.id}.{token.digest}", f"plait-{token.id}.", ""):
        with pytest.raises(UnknownCallerError, match="not known"):
            tokens.spend(guess, NOW)


def test_expired_and_revoked_tokens_are_refused(tmp_path: Path):
    tokens = Tokens(tmp_path / "tokens.json")
    old, taken_back = (tokens.create("demo", "billing", 60, NOW) for _ in range(2))
    [identifier] = {t.id for t in tokens.known(NOW)} & {
        taken_back.removeprefix("plait-").partition(".")[0]
    }

    with pytest.raises(UnknownCallerError, match="expired"):
        tokens.spend(old, NOW + 60)
    assert tokens.revoke(identifier, NOW)
    assert not tokens.revoke("nobody", NOW)
    with pytest.raises(UnknownCallerError, match="not known"):
        tokens.spend(taken_back, NOW)


# Certificates that were given


def entry(proxy: str, root: str = "old", **more: object) -> Entry:
    return Entry(identity="spiffe://x/ns/a/sa/b", proxy=proxy, root=root, **more)  # type: ignore[arg-type]


def test_the_newest_certificate_of_each_proxy_is_known_after_a_restart(tmp_path: Path):
    ledger = Ledger(tmp_path / "issued.jsonl")
    for one in (entry("a"), entry("b"), entry("a", "new")):
        ledger.add(one)
    with (tmp_path / "issued.jsonl").open("a") as file:
        file.write('{"proxy":"c","ident')  # the disk was full, or it was killed in mid-write
    ledger.add(entry("d"))
    again = Ledger(tmp_path / "issued.jsonl")
    again.load()

    roots = {name: one.root for name, one in again.entries.items()}
    assert roots == {"b": "old", "a": "new", "d": "old"}


def test_a_certificate_that_was_renewed_meanwhile_is_not_forgotten(tmp_path: Path):
    ledger = Ledger(tmp_path / "issued.jsonl")
    ledger.add(entry("a"))
    gone = tuple(ledger.entries.values())
    ledger.add(entry("a", "new"))
    ledger.forget(gone)

    assert ledger.entries["a"].root == "new"


def test_a_pod_that_is_made_anew_has_one_certificate(tmp_path: Path):
    ledger = Ledger(tmp_path / "issued.jsonl")
    for one in ("sidecar~1~web-0.demo~x", "sidecar~2~web-0.demo~x"):
        ledger.add(entry(one, pod="demo/web-0"))
    again = Ledger(tmp_path / "issued.jsonl")
    again.load()

    assert list(ledger.entries) == list(again.entries) == ["sidecar~2~web-0.demo~x"]


def test_the_file_does_not_grow_without_end(tmp_path: Path):
    ledger = Ledger(tmp_path / "issued.jsonl")
    for _ in range(1100):
        ledger.add(entry("a"))
    ledger.forget(())

    assert len((tmp_path / "issued.jsonl").read_bytes().splitlines()) == 1
    assert list(ledger.entries) == ["a"]


def test_a_certificate_is_remembered_when_it_cannot_be_written_down(tmp_path: Path):
    ledger = Ledger(tmp_path / "missing" / "issued.jsonl")
    ledger.add(entry("a"))

    assert "a" in ledger.entries
