"""What is said once."""

from __future__ import annotations

from plait.base.once import Once


def test_what_was_said_is_said_again_only_when_it_is_forgotten():
    once = Once(most=2)

    said = [once.say(word) for word in ("a", "a", "b", "a", "c", "b", "a")]

    assert said == [True, False, True, False, True, False, True]
