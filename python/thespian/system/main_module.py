"""``__main__`` of a client program, imported again as ``__mp_main__`` when something needs it.

Its top level runs a second time then, which is why programs guard it with
``if __name__ == "__main__"``. Not here: which file it is; the client says so.
"""

import runpy
import sys
import types
from typing import Any, Optional

# Set while the program's top level runs in a forkserver or an actor.
importing = False


class _LazyMain(types.ModuleType):
    """Runs the program's file at the first use of a name of it."""

    def __init__(self, file: str) -> None:
        super().__init__("__main__")
        self.__dict__["__file__"] = file

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = _load(self.__dict__["__file__"])
        return getattr(module, name)


def install(file: Optional[str]) -> None:
    """Makes the names of the client's main file available as those of ``__main__``."""
    if file:
        sys.modules["__main__"] = sys.modules["__mp_main__"] = _LazyMain(file)


def _load(file: str) -> types.ModuleType:
    global importing
    module = types.ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    importing = True
    try:
        names = runpy.run_path(file, run_name="__mp_main__")
    except BaseException:
        install(file)
        raise
    finally:
        importing = False
    module.__dict__.update(names)
    return module
