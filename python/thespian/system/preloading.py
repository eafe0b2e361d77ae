"""What the forkserver of a client's environment imports before it forks, and whether that is old.

Actors of a program's own modules are forked with their modules imported, as those of sources are.
A program is edited and run again while its node stays, so the imported files are looked at again.
Not here: what an import leaves behind (``process``), starting over (``forkserver``).
"""

import os
import sys
import time
from typing import Dict, Optional, Set

from thespian import actors
from thespian.system import naming

# Files are looked at again at most this often.
LOOK_AFTER_S = 0.05
_CLASS = b'"class":"'


def class_of(payload: bytes) -> Optional[str]:
    """The name of the class in a request to fork a worker, without reading all of it."""
    start = payload.find(_CLASS)
    end = payload.find(b'"', start + len(_CLASS))
    if start < 0 or end < 0:
        return None
    return payload[start + len(_CLASS) : end].decode(errors="replace")


class Preloaded:
    """The modules that were imported for a client's actors."""

    def __init__(self) -> None:
        self._own = _files()
        self._classes: Set[str] = set()
        self._times: Dict[str, int] = {}
        self._looked_at = 0.0

    def knows(self, name: str) -> bool:
        """Whether the class was looked for already."""
        return name in self._classes

    def look(self, name: str) -> bool:
        """Imports the class, if it can be; whether modules came with it.

        Of a failure the worker tells, which tries again.
        """
        self._classes.add(name)
        before = len(sys.modules)
        try:
            naming.resolve(name, actors.is_actor)
        except (Exception, SystemExit):
            pass
        for file in _files() - self._own - set(self._times):
            self._times[file] = _changed_ns(file)
        return len(sys.modules) != before

    def is_old(self) -> bool:
        """Whether an imported file has changed since."""
        now = time.monotonic()
        if not self._times or now - self._looked_at < LOOK_AFTER_S:
            return False
        self._looked_at = now
        return any(_changed_ns(file) != then for file, then in self._times.items())


def _files() -> Set[str]:
    named = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {name for name in named if isinstance(name, str)}


def _changed_ns(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0
