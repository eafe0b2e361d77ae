"""Capability checks of actor classes, and what constructors get injected.

Not here: where an actor is placed; the node decides that.
"""

import ast
import inspect
from typing import Any, Dict, Optional


def fits(cls: type, capabilities: Dict[str, Any], requirements: Optional[Dict[str, Any]]) -> bool:
    """Whether the class may run on a system with these capabilities; an exception means no."""
    check = getattr(cls, "actorSystemCapabilityCheck", None)
    if check is None:
        return True
    try:
        return bool(check(capabilities, {} if requirements is None else requirements))
    except Exception:
        return False


def literal(text: Optional[str]) -> Any:
    """The value of a dictionary literal of the node, or None."""
    return None if text is None else ast.literal_eval(text)


def to_literal(value: Any) -> Optional[str]:
    """The literal of a value; raises ValueError if it has none."""
    if value is None:
        return None
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise ValueError(
            "capabilities and requirements are made of numbers, strings, tuples, lists and "
            "dictionaries: `%s` is not" % text
        )
    return text


def construct(cls: Any, capabilities: Any, requirements: Any) -> Any:
    """An instance, with ``capabilities`` and ``requirements`` injected where they are named.

    Both are callables that give the value.
    """
    initializer = cls.__init__
    if initializer is object.__init__:
        return cls()
    parameters = inspect.signature(initializer).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    given = {}
    for name, value in (("capabilities", capabilities), ("requirements", requirements)):
        if name in parameters and parameters[name].kind in kinds:
            given[name] = value()
    return cls(**given)
