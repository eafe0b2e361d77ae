"""The order of package files by the version in their names, for programs that sort them.

Not here: how the node and the commands order versions; they have it in the program.
"""

import os
import re
from typing import Any, Callable, List

_RUNS = re.compile(r"[0-9]+|[^0-9]+")


class Part:
    """A run of digits or of other characters; a number is less than a text."""

    __slots__ = ("_value",)

    def __init__(self, text: str) -> None:
        self._value: Any = int(text) if text[0] in "0123456789" else text

    def __call__(self) -> Any:
        """The number or the text."""
        return self._value

    def _rank(self) -> Any:
        return isinstance(self._value, str), self._value

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Part) and self._value == other._value

    def __lt__(self, other: "Part") -> bool:
        return bool(self._rank() < other._rank())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return repr(self._value)


class GroupLoadableFiles:
    """What sorts the package files of a group."""

    @staticmethod
    def versionExtract(group: str) -> Callable[[str], List[Part]]:
        """A key for ``sort``: the parts of what a file's name has behind the group's."""

        def parts(path: str) -> List[Part]:
            name = os.path.basename(path)
            name = name[len(group) :] if name.startswith(group) else name
            name = name[:-4] if name.endswith(".tls") else name
            return [Part(text) for text in _RUNS.findall(name)]

        return parts
