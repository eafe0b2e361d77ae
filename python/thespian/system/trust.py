"""What may be unpickled from whom.

Between processes of one source on one node messages are ordinary pickles. Everything else, and
what the node marks as foreign, is read by an unpickler that gives out built-in data types only, so
that a message can neither run code here nor turn a class of one version into that of another.
Not here: what happens to a refused message (``reading``).
"""

import builtins
import collections
import datetime
import decimal
import fractions
import importlib.util
import io
import ipaddress
import os
import pathlib
import pickle
import sys
import uuid
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from thespian.system import address, errors, messages
from thespian.system.messages import status

# In the environment of the root forkserver: `module.name` or `module.*`, one a line or by commas.
ALLOW_VARIABLE = "DIRECTOR_PICKLE_ALLOW"


class Refused(Exception):
    """A message names a class that may not be unpickled from its sender."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "the class `%s` may not be unpickled from another source or node: send built-in data "
            "types, or allow it in `pickle.cfg`" % name
        )
        self.name = name


_BUILTIN_DATA = [
    *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int"),
    *("list", "object", "range", "set", "slice", "str", "tuple"),
]
# Python 3.13 pickles paths by another module's name.
_MOVED = {"pathlib._local": "pathlib"}
_NONE_TYPES = {"NoneType": type(None), "Ellipsis": Ellipsis, "NotImplemented": NotImplemented}


def _classes(module: Any, names: str) -> Dict[Tuple[str, str], Any]:
    found = {}
    for name in names.split():
        if hasattr(module, name):
            found[(module.__name__, name)] = getattr(module, name)
    return found


def _allowed() -> Dict[Tuple[str, str], Any]:
    table: Dict[Tuple[str, str], Any] = {}
    for name in _BUILTIN_DATA:
        table[("builtins", name)] = getattr(builtins, name)
    for name, value in vars(builtins).items():
        if isinstance(value, type) and issubclass(value, BaseException):
            table[("builtins", name)] = value
    for name, value in _NONE_TYPES.items():
        table[("builtins", name)] = value
    table.update(_classes(datetime, "date datetime time timedelta timezone"))
    table.update(_classes(decimal, "Decimal"))
    table.update(_classes(fractions, "Fraction"))
    table.update(_classes(uuid, "UUID SafeUUID"))
    table.update(_classes(collections, "ChainMap Counter OrderedDict UserDict UserList UserString"))
    table.update(_classes(collections, "defaultdict deque"))
    table.update(_classes(pathlib, "Path PosixPath PurePath PurePosixPath PureWindowsPath"))
    table.update(_classes(ipaddress, "IPv4Address IPv4Interface IPv4Network"))
    table.update(_classes(ipaddress, "IPv6Address IPv6Interface IPv6Network"))
    for module, base in (
        (messages, messages.ActorSystemMessage),
        (status, messages.ActorSystemMessage),
        (errors, errors.ActorSystemException),
    ):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, base):
                table[(module.__name__, name)] = value
    for function in (address.restore_address, address.restore_literal, address.restore_role):
        table[(address.__name__, function.__name__)] = function
    table[(messages.__name__, "Unreadable")] = messages.Unreadable
    table[(address.__name__, "ActorAddress")] = address.ActorAddress
    table[(address.__name__, "RoleAddress")] = address.RoleAddress
    return table


# Messages of our own helper modules, which are imported when one is named. Not for strangers: a
# `Command` has the actor that gets it run a program.
_HELPERS = {
    "thespian.runcommand": [
        *("Command", "CommandAbort", "CommandError", "CommandLog", "CommandOutput"),
        *("CommandResult", "CommandStarted"),
    ],
    "thespian.troupe": ["UpdateTroupeSettings"],
}
_TABLE = _allowed()
_SNAPSHOT_FREE = set(_BUILTIN_DATA) | {"NoneType"}


def additions(text: Optional[str]) -> Tuple[str, ...]:
    """The names in a value of ``ALLOW_VARIABLE``."""
    return tuple((text or "").replace(",", " ").split())


class Rule:
    """What a process allows in pickles from elsewhere.

    ``extra`` is what the operator allowed; ``source_path`` is the folder of the own source, whose
    classes are allowed in messages from the same source on another node.
    """

    def __init__(self, extra: Iterable[str] = (), source_path: Optional[str] = None) -> None:
        self.extra = frozenset(extra)
        self.source_path = os.path.join(source_path, "") if source_path else None

    def loads(self, payload: Any, same_source: bool = False, stranger: bool = False) -> Any:
        """The object in a pickle; raises Refused, or what the pickle's reading raises.

        A ``stranger`` is another user or node, who runs nothing here.
        """
        reader = _Restricted(io.BytesIO(payload), self, same_source, stranger)
        try:
            return reader.load()
        finally:
            reader.restore_classes()

    def find(self, module: str, name: str, same_source: bool, stranger: bool = False) -> Any:
        """What a pickle's reference stands for; raises Refused."""
        module = _MOVED.get(module, module)
        known = _TABLE.get((module, name), self)
        if known is not self and not (stranger and module.startswith(messages.__name__)):
            return known
        full = "%s.%s" % (module, name)
        if full in self.extra or (not stranger and name in _HELPERS.get(module, ())):
            return _import(module, name)
        if module + ".*" in self.extra or (same_source and self._is_own(module)):
            # What the module only imported is not among its classes.
            try:
                found = _import(module, name)
            except AttributeError:
                raise Refused(full) from None
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise Refused(full)

    def _is_own(self, module: str) -> bool:
        if self.source_path is None:
            return False
        loaded = sys.modules.get(module)
        if loaded is not None:
            place = getattr(loaded, "__file__", None)
        else:
            try:
                spec = importlib.util.find_spec(module)
            except (ImportError, ValueError):
                return False
            place = spec.origin if spec else None
        return bool(place) and os.path.abspath(str(place)).startswith(self.source_path)


def _import(module: str, name: str) -> Any:
    __import__(module)
    found = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found


class _Restricted(pickle.Unpickler):
    """Gives out allowed names only, and undoes what a pickle does to a class itself.

    A pickle can set attributes of what it names; data classes written in Python are therefore
    compared with their state before, and put back.
    """

    def __init__(
        self, stream: io.BytesIO, rule: Rule, same_source: bool, stranger: bool = False
    ) -> None:
        super().__init__(stream)
        self._rule = rule
        self._same_source = same_source
        self._stranger = stranger
        self._before: List[Tuple[type, Dict[str, Any], Tuple[type, ...]]] = []

    def find_class(self, module: str, name: str) -> Any:
        found = self._rule.find(module, name, self._same_source, self._stranger)
        if isinstance(found, type):
            if not (module == "builtins" and name in _SNAPSHOT_FREE):
                self._before.append((found, dict(vars(found)), found.__bases__))
            return found
        return _fresh(found) if callable(found) else found

    def restore_classes(self) -> None:
        """Puts changed classes back; raises Refused if there was one."""
        changed = None
        for cls, attributes, bases in reversed(self._before):
            now = vars(cls)
            same = len(now) == len(attributes) and all(
                now.get(name, self) is value for name, value in attributes.items()
            )
            if same and cls.__bases__ == bases:
                continue
            changed = cls
            if cls.__bases__ != bases:
                cls.__bases__ = bases
            for name in set(now) - set(attributes):
                delattr(cls, name)
            for name, value in attributes.items():
                if now.get(name, self) is not value:
                    setattr(cls, name, value)
        if changed is not None:
            raise Refused("%s.%s" % (changed.__module__, changed.__qualname__))


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of its own, so that the one behind it cannot be changed."""
    return lambda *args: function(*args)
