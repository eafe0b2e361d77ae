"""``logDefs`` of a program that starts a node, as the text of that node's ``thesplog.cfg``.

Classes and functions become their import paths; where the program's modules are goes with them.
Not here: what is made of it (``log_process``).
"""

import os
import sys
from typing import Any, Optional

from thespian.system import capable, log_process

# What the program gave last; None or False: nothing.
given: Any = None


def text() -> Optional[str]:
    """The text for ``thesplog.cfg``, or None; raises ValueError."""
    if not given:
        return None
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    directory = os.getcwd()
    definitions = dict(_plain(given, "logDefs"))
    definitions[log_process.CLIENT_KEY] = {
        "sys_path": [os.path.join(directory, entry) for entry in sys.path],
        "main": os.path.abspath(main) if main else None,
        "directory": directory,
    }
    return capable.to_literal(definitions)


def _plain(value: Any, place: str) -> Any:
    """The value with import paths in place of what they name."""
    if isinstance(value, dict):
        return {key: _plain(inner, "%s[%r]" % (place, key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(inner, place) for inner in value)
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    for name in ("stdout", "stderr"):
        if value in (getattr(sys, name), getattr(sys, "__%s__" % name)):
            return "ext://sys." + name
    qualified = getattr(value, "__qualname__", None)
    if qualified is None or "<" in qualified:
        raise ValueError(
            "%s is %r: the log process of a node can only use what it can import by its name"
            % (place, value)
        )
    return "%s.%s" % (value.__module__, qualified)
