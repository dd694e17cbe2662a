"""What a plain word of YAML means, by kubectl's rules.

They are YAML 1.1's with exceptions: ``y``, ``on`` and their like are booleans, ``017`` and
``0o17`` are octal, ``1e3`` is a number, but ``1:30`` and dates stay text.  Numbers are those of
JSON: a float without a fraction is a whole number.
"""

from __future__ import annotations

import re
from typing import Final

Scalar = str | int | float | bool | None

_TRUE: Final = "y Y yes Yes YES on On ON true True TRUE"
_FALSE: Final = "n N no No NO off Off OFF false False FALSE"
_NULL: Final = "~ null Null NULL"
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    **dict.fromkeys(_TRUE.split(), True),
    **dict.fromkeys(_FALSE.split(), False),
    **dict.fromkeys(_NULL.split(), None),
}
_ENDLESS: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WHOLE: Final = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))"
)
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASES: Final = (16, 2, 8, 10)
_LONGEST: Final = 400  # digits; no number of 64 bits has more


def plain(text: str) -> Scalar:
    """The value of a word without quotes.

    Raises:
        ValueError: an infinite number or no number, which JSON cannot hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _ENDLESS.fullmatch(text):
        raise ValueError(f"{text} cannot be written in JSON")
    return _number(text)


def settle(number: float) -> int | float:
    """A float as JSON shows it: whole where it has no fraction."""
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def _number(text: str) -> Scalar:
    digits = text.replace("_", "")
    if len(digits) > _LONGEST:
        return text
    if (found := _WHOLE.fullmatch(digits)) is not None:
        sign, *parts = found.groups()
        value, base = next((p, b) for p, b in zip(parts, _BASES, strict=True) if p is not None)
        number = int(sign + value, base)
        if -(2**63) <= number < 2**64:
            return number
        if base != 10:
            return text
    if _DECIMAL.fullmatch(digits) is None:
        return text
    number_ = float(digits)
    return text if number_ in (float("inf"), float("-inf")) else settle(number_)
