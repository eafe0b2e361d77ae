"""Which program this is: what an actor of its own modules needs to import them.

Not here: how they are imported (``main_module``, ``forkserver``).
"""

import hashlib
import os
import sys
from typing import Any, Dict


def environment() -> Dict[str, Any]:
    """What an actor of this program's own modules needs to import them."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is not None:
        # What actors pickle as `__mp_main__` is this program's `__main__`.
        sys.modules.setdefault("__mp_main__", main)
    directory = os.getcwd()
    return {
        "interpreter": sys.executable or "",
        "sys_path": [os.path.join(directory, entry) for entry in sys.path],
        "main": os.path.abspath(file) if file else None,
        "directory": directory,
    }


def identity(told: Dict[str, Any]) -> str:
    """The id of the program with this environment; nodes compute the same."""
    fields = [told["interpreter"], told["main"] or "", told["directory"]]
    digest = hashlib.sha256()
    for field in fields + list(told["sys_path"]):
        digest.update(field.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
