"""Values as the text of a literal: what an actor answers to who sent it a literal.

Not here: reading literals (``reading``).
"""

import math
from typing import Any, Tuple

# Deeper values are shown, not sent as values.
DEPTH_MAX = 50
_PLAIN = (type(None), bool, int, str, bytes)


def encode(value: Any) -> Tuple[bytes, bool]:
    """The text of a value, and whether it is that of a literal.

    Of a value that is none it is the text of its ``repr``, itself a string literal.
    """
    if _is_literal(value, DEPTH_MAX):
        try:
            return repr(value).encode(), True
        except ValueError:
            pass  # An integer of more digits than Python prints.
    try:
        shown = repr(value)
    except Exception as error:
        shown = "<%s whose repr raises %s>" % (type(value).__qualname__, type(error).__name__)
    return ascii(shown).encode(), False


def _is_literal(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is complex:
        return math.isfinite(value.real) and math.isfinite(value.imag)
    if not depth:
        return False
    if kind is dict:
        return all(
            _is_literal(key, depth - 1) and _is_literal(inner, depth - 1)
            for key, inner in value.items()
        )
    if kind in (list, tuple) or (kind is set and value):
        return all(_is_literal(inner, depth - 1) for inner in value)
    return False
