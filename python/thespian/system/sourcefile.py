"""The bytes of a source that an application loads itself, and what names them.

Not here: who may load what; the node decides that.
"""

import hashlib
from typing import Any, Tuple


def read(source: Any) -> Tuple[bytes, str]:
    """The bytes of a path or of an object with ``read``, and where they came from, for people.

    The object is closed, as the original does it.
    """
    if not hasattr(source, "read"):
        with open(source, "rb") as file:
            return file.read(), str(source)
    try:
        data = source.read()
    finally:
        if hasattr(source, "close"):
            source.close()
    if isinstance(data, str):
        raise TypeError("a source is bytes: open `%s` in binary mode" % (source,))
    return bytes(data), str(getattr(source, "name", None) or source)


def hash_of(data: bytes) -> str:
    """The identity of a source."""
    return hashlib.sha256(data).hexdigest()
