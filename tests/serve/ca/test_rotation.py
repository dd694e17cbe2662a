"""The rotation of a root, decided from what is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.serve.ca import rotation
from plait.serve.ca.rotation import Action, Evidence, Held, Phase, State
from tests.support import scale

NOW = 1000.0
GRACE = 300.0
STEADY = State(signing="old")
TRUSTING = rotation.begun(STEADY, "new", NOW)
SIGNING = State(phase=Phase.SIGNING, signing="new", other="old", since=NOW)
DROPPING = State(phase=Phase.DROPPING, signing="new", other="old", since=NOW)


def seen(*connected: str, behind: str = "", **held: tuple[str, float]) -> Evidence:
    return Evidence(
        connected=frozenset(connected),
        behind=frozenset(behind.split()),
        held={name: Held(root=root, not_after=end) for name, (root, end) in held.items()},
    )


def stepped(state: State, evidence: Evidence, now: float = NOW + 1) -> tuple[State, Any]:
    return rotation.step(state, evidence, now, GRACE)


@pytest.mark.parametrize(
    ("state", "trusted"),
    [
        (STEADY, ("old",)),
        (TRUSTING, ("old", "new")),
        (SIGNING, ("new", "old")),
        (DROPPING, ("new",)),
    ],
)
def test_the_root_that_signs_is_the_first_that_is_trusted(state, trusted):
    assert trusted == state.trusted


@pytest.mark.parametrize(
    ("state", "evidence", "now", "phase"),
    [
        # nothing is under way
        (STEADY, seen("a", behind="a"), NOW, Phase.STEADY),
        # 1: everybody must trust the new root
        (TRUSTING, seen("a", behind="a"), NOW + 9999, Phase.TRUSTING),
        (TRUSTING, seen("a", a=("old", 2000)), NOW + 1, Phase.SIGNING),
        (TRUSTING, seen(), NOW, Phase.SIGNING),
        (TRUSTING, seen("a", b=("old", 2000)), NOW + GRACE - 1, Phase.TRUSTING),
        (TRUSTING, seen("a", b=("old", 2000)), NOW + GRACE, Phase.SIGNING),
        (TRUSTING, seen("a", b=("old", NOW)), NOW + 1, Phase.SIGNING),
        # 2: nobody may have a certificate of the old one
        (SIGNING, seen("a", a=("old", 2000)), NOW + 900, Phase.SIGNING),
        (SIGNING, seen("a", a=("new", 2000)), NOW + 1, Phase.DROPPING),
        (SIGNING, seen("a"), NOW + 1, Phase.SIGNING),
        (SIGNING, seen("a"), NOW + GRACE, Phase.DROPPING),
        (SIGNING, seen("a", a=("new", 2000), b=("old", 2000)), 1999, Phase.SIGNING),
        (SIGNING, seen("a", a=("new", 2000), b=("old", 2000)), 2000, Phase.DROPPING),
        # 3: everybody must have heard of it
        (DROPPING, seen("a", behind="a"), NOW + 9999, Phase.DROPPING),
        (DROPPING, seen("a"), NOW, Phase.STEADY),
    ],
)
def test_a_phase_ends_when_the_next_one_cuts_nobody_off(state, evidence, now, phase):
    after, _ = rotation.step(state, evidence, now, GRACE)

    assert phase == after.phase


def test_a_rotation_goes_from_the_old_root_to_the_new_one():
    state, phases = TRUSTING, []
    while state.phase is not Phase.STEADY:
        state, actions = stepped(state, seen("a", a=(state.trusted[0], 2000)))
        phases.append((state.phase, state.trusted, actions))

    assert phases == [
        (Phase.SIGNING, ("new", "old"), ()),
        (Phase.DROPPING, ("new",), (Action.FORGET,)),
        (Phase.STEADY, ("new",), ()),
    ]


def test_who_is_waited_for_is_named_with_the_reason():
    evidence = seen("a", "c", behind="a", b=("old", 1200))

    found = rotation.waits(TRUSTING, evidence, NOW + 1, GRACE)

    assert [(w.proxy, w.reason, w.until) for w in found] == [
        ("a", "has not acknowledged the roots", None),
        ("b", "is not connected", 1200),
    ]


def test_after_a_restart_the_grace_begins_anew():
    evidence = Evidence(held={"b": Held(root="old", not_after=9000)}, watched=NOW + 500)

    assert rotation.waits(TRUSTING, evidence, NOW + 600, GRACE)
    assert not rotation.waits(TRUSTING, evidence, NOW + 500 + GRACE, GRACE)


def test_force_passes_over_who_is_not_connected_and_nobody_else():
    away = seen("a", a=("new", 2000), b=("old", 2000))

    for state in (TRUSTING, SIGNING):
        assert state == stepped(state, away)[0]
        assert state.phase != stepped(rotation.forced(state), away)[0].phase
    late = seen("a", behind="a", a=("old", 2000))
    for state in (TRUSTING, SIGNING):
        assert stepped(rotation.forced(state), late)[0].phase is state.phase


def test_force_lasts_until_the_rotation_is_over():
    state = rotation.forced(TRUSTING)
    while state.phase is not Phase.STEADY:
        assert state.forced
        state, _ = stepped(state, seen())

    assert not state.forced


def test_aborted_before_the_new_root_signed_it_is_over_at_once():
    assert (State(signing="old", since=5), (Action.FORGET,)) == rotation.aborted(TRUSTING, 5)


def test_aborted_later_the_two_roots_change_places_until_nobody_has_the_new_one():
    back, actions = rotation.aborted(SIGNING, NOW)

    assert (back.trusted, actions) == (("old", "new"), ())
    assert back.phase is stepped(back, seen("a", a=("new", 2000)))[0].phase
    after, actions = stepped(back, seen("a", a=("old", 2000)))
    assert (after.trusted, actions) == (("old",), (Action.FORGET,))


@pytest.mark.parametrize(("state", "why"), [(DROPPING, "given up"), (STEADY, "no rotation")])
def test_what_cannot_be_aborted_is_said(state, why):
    with pytest.raises(ValueError, match=why):
        rotation.aborted(state, NOW)


@pytest.mark.parametrize("state", [TRUSTING, SIGNING, DROPPING])
def test_a_second_rotation_does_not_begin_in_the_midst_of_one(state):
    with pytest.raises(ValueError, match="under way"):
        rotation.begun(state, "third", NOW)


ROOTS = st.sampled_from(["old", "new"])
PROXIES = st.sampled_from("abc")


@settings(max_examples=scale.count(200, 5000), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(PROXIES),
            st.sets(PROXIES),
            st.dictionaries(PROXIES, ROOTS),
        ),
        max_size=12,
    )
)
def test_no_step_cuts_a_connected_proxy_off(history):
    """At every step: who is connected trusts what signs, and what it shows is trusted."""
    state = TRUSTING
    for connected, behind, held in history:
        evidence = Evidence(
            connected=frozenset(connected),
            behind=frozenset(behind),
            held={name: Held(root=root, not_after=NOW + 10_000) for name, root in held.items()},
        )
        after, _ = rotation.step(state, evidence, NOW + 1, GRACE)
        if after.signing != state.signing:
            assert after.signing in state.trusted
            assert not behind & connected
        if set(state.trusted) - set(after.trusted):
            assert all(held.get(name, after.signing) in after.trusted for name in connected)
            assert all(root in after.trusted for root in held.values())
        state = after
