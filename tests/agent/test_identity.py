"""When a certificate is renewed, and which one is taken."""

from __future__ import annotations

import itertools
import time

import pytest
from msgspec.structs import replace

from plait.agent import identity
from plait.agent.identity import Ask, Identity, State, UnfitError, Wait, step
from tests.support.signing import DEMO, Authority

ACCOUNT = "/ns/demo/sa/web"
START = 1_700_000_000.0


def held(seconds: float, luck: float = 0.0) -> State:
    found = Identity(key="", chain=(), received=START, seconds=seconds)
    return identity.received(State(), found, luck, is_wanted=True)


def due(state: State) -> float:
    """Seconds after `START` at which a certificate is asked for."""
    now = START
    while isinstance(found := step(state, now), Wait):
        assert found.seconds > 0
        now += found.seconds
    return now - START


def attempts(state: State, until: float) -> list[float]:
    """Seconds after `START` at which one that always fails asks, before `until`."""
    found, now = [], START
    while now < START + until:
        match step(state, now):
            case Ask():
                found.append(now - START)
                state = identity.failed(state, now, 0.0)
            case Wait(seconds=seconds):
                now += seconds
    return found


def test_who_has_no_certificate_asks_at_once():
    assert step(State(), START) == Ask()


@pytest.mark.parametrize(
    ("seconds", "luck", "expected"), [(60, 0.0, 30), (60, 1.0, 24), (86400, 0.5, 38880)]
)
def test_a_certificate_is_renewed_at_half_of_its_life_or_somewhat_earlier(
    seconds: float, luck: float, expected: float
):
    assert due(held(seconds, luck)) == pytest.approx(expected)


def test_attempts_that_fail_come_ever_more_seldom_and_still_several_before_the_end():
    found = attempts(held(60), 60)

    assert found[0] == pytest.approx(30)
    assert len(found) > 6
    assert max(b - a for a, b in itertools.pairwise(found)) <= 7.5


def test_without_a_valid_certificate_attempts_are_at_most_five_seconds_apart():
    found = attempts(State(), 100)

    assert len(found) < 30
    assert found[-1] - found[-2] == pytest.approx(5)


def test_another_first_root_is_followed_within_seconds_and_not_by_all_at_once():
    early, late = (identity.moved(held(86400, luck), START + 100) for luck in (0.0, 1.0))

    assert due(early) == pytest.approx(100)
    assert due(late) == pytest.approx(100 + identity.SPREAD)


def test_who_is_given_another_root_than_the_first_asks_ever_more_seldom():
    state, now, asked = identity.moved(held(86400), START), START, []
    while now < START + 600:
        if isinstance(found := step(state, now), Wait):
            now += found.seconds
            continue
        asked.append(now - START)
        given = Identity(key="", chain=(), received=now, seconds=86400)
        state = identity.received(state, given, 0.0, is_wanted=False)

    assert 5 < len(asked) < 30
    assert asked[-1] - asked[-2] == pytest.approx(30)


def test_a_clock_that_went_back_is_no_reason_to_wait():
    assert step(held(86400), START - 3600) == Ask()


def test_a_certificate_is_good_for_as_long_as_was_asked_for_whatever_the_clock_says():
    key, now = identity.new_key(), time.time()
    chain = Authority().issue(key.public_key(), seconds=60)
    found = {
        off: identity.accepted(key, chain, account=ACCOUNT, seconds=60, now=now + off).seconds
        for off in (-3600, 0, 3600)
    }

    assert found == pytest.approx({-3600: 60, 0: 60, 3600: 60}, abs=3)


@pytest.mark.parametrize(
    "name", ["spiffe://cluster.local/ns/demo/sa/other", "https://x/ns/demo/sa/web"]
)
def test_a_certificate_for_somebody_else_is_not_taken(name: str):
    key = identity.new_key()
    chain = Authority().issue(key.public_key(), name)

    with pytest.raises(UnfitError, match="not for"):
        identity.accepted(key, chain, account=ACCOUNT, seconds=0, now=time.time())


def test_a_certificate_of_another_key_is_not_taken():
    chain = Authority().issue(identity.new_key().public_key())

    with pytest.raises(UnfitError, match="not of the key"):
        identity.accepted(identity.new_key(), chain, account=ACCOUNT, seconds=0, now=time.time())


@pytest.mark.parametrize("chain", [(), ("",), ("no certificate",)])
def test_an_answer_without_a_certificate_is_not_taken(chain: tuple[str, ...]):
    with pytest.raises(UnfitError):
        identity.accepted(identity.new_key(), chain, account=ACCOUNT, seconds=0, now=START)


def test_a_chain_is_under_the_root_that_issued_it_whether_it_has_that_or_not():
    one, other = Authority("one"), Authority("other")
    chain = one.issue(identity.new_key().public_key())

    assert identity.is_under(chain, one.root + other.root)
    assert identity.is_under(chain[:1], one.root)
    assert not identity.is_under(chain, other.root + one.root)


def test_what_is_kept_is_used_again_for_the_same_account_alone():
    key = identity.new_key()
    chain = Authority().issue(key.public_key())
    kept = identity.accepted(key, chain, account=ACCOUNT, seconds=0, now=time.time())

    assert identity.restored(kept, account=ACCOUNT) == DEMO
    for wrong in (
        replace(kept, key="damaged"),
        replace(kept, key=identity.key_text(identity.new_key())),
        replace(kept, chain=()),
    ):
        with pytest.raises(UnfitError):
            identity.restored(wrong, account=ACCOUNT)
    with pytest.raises(UnfitError):
        identity.restored(kept, account="/ns/demo/sa/other")


def test_an_identity_does_not_show_its_key():
    kept = Identity(key="hidden", chain=("chain",), received=START, seconds=1)

    assert "hidden" not in f"{kept} {kept!r} {[kept]}"
