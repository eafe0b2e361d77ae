"""JSON documents of the control frames: one small function for each that Python writes.

The shapes are those of ``protocol/src/control.rs``. Not here: frames (``wire``).
"""

import json
import os
from typing import Any, Dict, Optional

from thespian.system import wire

Document = Dict[str, Any]
_encoder = json.JSONEncoder(separators=(",", ":"))


def encode(document: Document) -> bytes:
    """The bytes of a document."""
    return _encoder.encode(document).encode()


def decode(payload: Any) -> Document:
    """The document in a payload."""
    document = json.loads(bytes(payload))
    if not isinstance(document, dict):
        raise wire.ProtocolError("a control document that is no object")
    return document


def hello(role: str, token: Optional[str], program: Optional[str] = None) -> bytes:
    """The first frame of a connection; ``program`` is the one that a client is."""
    document = {
        "protocol": wire.PROTOCOL_VERSION,
        "oldest": wire.PROTOCOL_VERSION_OLDEST,
        "role": role,
        "token": token,
        "pid": os.getpid(),
        "program": program,
    }
    return wire.control_frame(wire.HELLO, 0, encode(document))


def notice(name: str, **fields: Any) -> bytes:
    """A frame with a fact that wants no answer."""
    return wire.control_frame(wire.NOTICE, 0, encode(dict(fields, notice=name)))


def request(sequence: int, op: str, **fields: Any) -> bytes:
    """A request to the node."""
    return wire.control_frame(wire.REQUEST, sequence, encode(dict(fields, op=op)))


def answer(sequence: int, name: str, **fields: Any) -> bytes:
    """A forkserver's answer to the request with this number."""
    return wire.control_frame(wire.RESPONSE, sequence, encode(dict(fields, answer=name)))


def failure(code: str, message: str, traceback: Optional[str] = None) -> Document:
    """Why an actor or its code could not be brought up."""
    return {"code": code, "message": message, "traceback": traceback}


def window(taken: int) -> bytes:
    """A report of bytes taken."""
    return wire.control_frame(wire.WINDOW_KIND, 0, wire.WINDOW.pack(taken), wire.RAW)
