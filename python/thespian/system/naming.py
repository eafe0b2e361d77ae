"""From a class name to a class, and back.

``pkg.mod.Class`` names a class; ``pkg.mod`` stands for the only Actor subclass that the module
defines. Not here: actors themselves.
"""

import importlib
import importlib.util
import sys
import traceback
import types
from typing import Any, Callable, Dict, Optional

from thespian.system import control

_HEX_DIGITS = frozenset("0123456789abcdef")


class NotFound(Exception):
    """The name stands for no actor class; ``failure`` is the document for the node."""

    def __init__(self, code: str, message: str, trace: Optional[str] = None) -> None:
        super().__init__(message)
        self.failure = control.failure(code, message, trace)


def name_of(cls: type) -> str:
    """The name by which another process finds the class."""
    return "%s.%s" % (cls.__module__, cls.__qualname__)


def resolve(name: str, is_actor: Callable[[Any], bool]) -> type:
    """The actor class with this name; imports what it needs. Raises NotFound."""
    found = _walk(name)
    if isinstance(found, type):
        if not is_actor(found):
            raise NotFound("invalid_specification", "`%s` is no Actor" % name)
        return found
    if not isinstance(found, types.ModuleType):
        raise NotFound("invalid_specification", "`%s` is no class" % name)
    defined: Dict[int, type] = {
        id(value): value
        for value in vars(found).values()
        if isinstance(value, type) and value.__module__ == found.__name__ and is_actor(value)
    }
    if len(defined) == 1:
        return next(iter(defined.values()))
    names = ", ".join(sorted(cls.__name__ for cls in defined.values())) or "none"
    raise NotFound(
        "invalid_specification",
        "the module `%s` has to define exactly one Actor subclass, or name the class: it defines %s"
        % (name, names),
    )


def _walk(name: str) -> Any:
    parts = name.split(".")
    if not all(parts):
        raise NotFound("invalid_specification", "`%s` is no qualified class name" % name)
    found = _import(parts[0], name)
    for at, part in enumerate(parts[1:], 2):
        value = getattr(found, part, None)
        known = isinstance(value, (type, types.ModuleType))
        if isinstance(found, types.ModuleType) and hasattr(found, "__path__") and not known:
            submodule = _import(".".join(parts[:at]), name, optional=True)
            if submodule is not None:
                found = submodule
                continue
        if value is None:
            where = ".".join(parts[: at - 1])
            raise NotFound("invalid_specification", "`%s` has no class `%s`" % (where, part))
        found = value
    return found


def _import(path: str, name: str, optional: bool = False) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if optional and error.name == path:
            return None
        raise _failed(path, name, error) from error
    except (SystemExit, Exception) as error:
        raise _failed(path, name, error) from error


def _failed(path: str, name: str, error: BaseException) -> NotFound:
    trace = "".join(traceback.format_exception(type(error), error, _own_frames_cut(error)))
    return NotFound(
        "import_error",
        "`%s` cannot be imported for `%s`: %s: %s" % (path, name, type(error).__name__, error),
        trace,
    )


def _own_frames_cut(error: BaseException) -> Any:
    """The traceback without the frames of this file and of importlib in front."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and "importlib" not in file:
            break
        trace = trace.tb_next
    return trace


def importable(name: str) -> bool:
    """Whether the module of a class name can be found from here, without importing it."""
    module = name.rpartition(".")[0]
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def is_source_hash(text: Any) -> bool:
    """Whether this can be the hash of a source: 64 hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and set(text.lower()) <= _HEX_DIGITS
