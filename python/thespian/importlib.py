"""The standard ``importlib``, by the name under which Thespian's documentation offers one.

Sources that say ``import thespian.importlib as importlib`` find what they look for; here the
standard one imports a source's modules as it does all others.
"""

import importlib
import importlib.util
from importlib import import_module, invalidate_caches, reload
from typing import Any

__all__ = ["import_module", "invalidate_caches", "reload"]


def __getattr__(name: str) -> Any:
    return getattr(importlib, name)
