"""The internal log and small functions that applications of the original import.

Nothing here is used by Director itself, whose own log is the node's.
"""

import inspect
import logging
import os
import tempfile
from datetime import datetime
from typing import Any, Callable, Iterable, Tuple

FILE_VARIABLE = "THESPLOG_FILE"
FILE_LEVEL_VARIABLE = "THESPLOG_THRESHOLD"
FILE_BYTES_VARIABLE = "THESPLOG_FILE_MAXSIZE"
FILE_BYTES_DEFAULT = 50 * 1024
# A smaller limit means no file.
FILE_BYTES_LEAST = 10 * 1024
_SHOWN = {10: "dbg", 20: "I", 30: "Warn", 40: "ERR", 50: "CRIT"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _Settings:
    """What ``thesplog`` writes, and where."""

    def __init__(self) -> None:
        named = os.environ.get(FILE_LEVEL_VARIABLE, "").upper()
        self.level = getattr(logging, named) if named in _LEVELS else logging.WARNING
        self.use_logging = False
        try:
            self.file_bytes = int(os.environ.get(FILE_BYTES_VARIABLE, FILE_BYTES_DEFAULT))
        except ValueError:
            self.file_bytes = FILE_BYTES_DEFAULT


_settings = _Settings()


def thesplog_control(
    baseLevel: int = logging.DEBUG, useLogging: bool = True, tmpFileMaxSize: int = 0
) -> None:
    """Sets what ``thesplog`` writes: from which level, to ``logging`` too, up to which file size.

    A size below 10 KiB means that no file is written.
    """
    _settings.level = baseLevel
    _settings.use_logging = useLogging
    _settings.file_bytes = tmpFileMaxSize


def thesplog(
    msg: Any,
    *args: Any,
    level: int = logging.INFO,
    primary: bool = False,
    exc_info: Any = False,
    extra: Any = None,
) -> None:
    """Writes a line to the internal log; never raises for a file that cannot be written.

    With ``primary`` it goes to ``logging`` too, if ``thesplog_control`` said so.
    """
    if level < _settings.level:
        return
    if _settings.file_bytes >= FILE_BYTES_LEAST:
        _write_line(level, str(msg) % args if args else str(msg))
    if primary and _settings.use_logging:
        _settings.use_logging = False
        try:
            logger = logging.getLogger("Thespian.System")
            logger.log(level, msg, *args, exc_info=exc_info, extra=extra)
        finally:
            _settings.use_logging = True


def _write_line(level: int, text: str) -> None:
    path = os.environ.get(FILE_VARIABLE) or os.path.join(tempfile.gettempdir(), "thespian.log")
    try:
        if os.stat(path).st_size > _settings.file_bytes:
            os.replace(path, path + ".old")
    except OSError:
        pass  # There is none yet, or another process has just moved it.
    line = "%s p%d %-4s %s\n" % (datetime.now(), os.getpid(), _SHOWN.get(level, "??"), text)
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)
    except OSError:
        pass  # A full disk does not stop an actor.


def fmap(func: Callable[[Any], Any], obj: Any) -> Any:
    """Applies a function to what is in tuples, lists, dictionaries and iterators, however deep.

    An object with a method ``fmap`` is asked to do it itself.
    """
    if isinstance(obj, tuple):
        return tuple(fmap(func, inner) for inner in obj)
    if isinstance(obj, dict):
        return {fmap(func, key): fmap(func, value) for key, value in obj.items()}
    if isinstance(obj, (list, filter, map, zip, range)):
        return [fmap(func, inner) for inner in obj]
    own = getattr(obj, "fmap", None)
    return own(func) if own is not None else func(obj)


def partition(test: Callable[[Any], bool], items: Iterable[Any], kind: Any = list) -> Tuple:
    """Those for which the test is true, and those for which it is not."""
    kept = list(items)
    passed = [bool(test(item)) for item in kept]
    true = kind(item for item, yes in zip(kept, passed) if yes)
    return true, kind(item for item, yes in zip(kept, passed) if not yes)


def isStr(var: Any) -> bool:
    """Whether this is a string."""
    return isinstance(var, str)


class withPossibleInitArgs:
    """Makes objects, giving those of its keyword arguments that their constructors name."""

    def __init__(self, **given: Any) -> None:
        self._given = given

    def create(self, cls: Any) -> Any:
        """An instance of the class."""
        if cls.__init__ is object.__init__:
            return cls()
        named = inspect.signature(cls.__init__).parameters
        return cls(**{name: value for name, value in self._given.items() if name in named})
