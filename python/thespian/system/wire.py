"""Frames: the header of 112 bytes in front of every payload, as ``docs/protocol.md`` has it.

Not here: sockets (``link``), JSON documents (``control``), who may be unpickled (``trust``).
"""

import struct
from typing import Any, Optional, Tuple

HEADER_VERSION = 1
# The newest version of the protocol that this module speaks, and the oldest.
PROTOCOL_VERSION = 2
PROTOCOL_VERSION_OLDEST = 1
HEADER = struct.Struct("<IBBHBBHI16s16sQQ32s16s")
HEADER_BYTES = HEADER.size
FRAME_BYTES_MAX = 400 << 20
LITERAL_BYTES_MAX = 8 << 20
# The same header cut where a sender's frames to one target differ: length, sequence, trace.
MESSAGE = struct.Struct("<I52sQ32s16s")
CREDIT = struct.Struct("<B7x16sI4xQ")
WINDOW = struct.Struct("<Q")
ENVELOPE = struct.Struct("<I")

HELLO, WELCOME, MESSAGE_KIND, REQUEST, RESPONSE, NOTICE = 1, 2, 3, 4, 5, 6
CREDIT_KIND, WINDOW_KIND, MARKER, UPLOAD, PATH_SWITCH = 7, 8, 9, 10, 11

ASK, SYSTEM, RETURNED, NO_LITERAL, PROGRAM, FOREIGN, REMOTE = 1, 2, 4, 8, 16, 32, 64

EMPTY, PICKLE, LITERAL, JSON, ENVELOPE_PAYLOAD, RAW = 0, 1, 2, 3, 4, 5

PEER, ACTOR, ROLE = 0, 1, 2

NOBODY = bytes(16)
NO_SOURCE = bytes(32)
NO_TRACE = bytes(16)

# Places in an unpacked header.
LENGTH, VERSION, KIND, FLAGS, PAYLOAD_KIND, TARGET_KIND, RESERVED, DEADLINE = range(8)
SENDER, TARGET, INCARNATION, SEQUENCE, SOURCE, TRACE = range(8, 14)

Header = Tuple[Any, ...]


class ProtocolError(Exception):
    """The other end sent bytes that are no frame of this protocol."""


def control_frame(kind: int, sequence: int, payload: bytes, payload_kind: int = JSON) -> bytes:
    """A frame to the other end of the connection."""
    head = HEADER.pack(
        HEADER_BYTES - 4 + len(payload),
        HEADER_VERSION,
        kind,
        0,
        payload_kind if payload or payload_kind != JSON else EMPTY,
        PEER,
        0,
        0,
        NOBODY,
        NOBODY,
        0,
        sequence,
        NO_SOURCE,
        NO_TRACE,
    )
    return head + payload


def target_of(key: bytes) -> Tuple[int, bytes]:
    """Target kind and target id of an address's key."""
    return (ACTOR, key) if len(key) == 16 else (ROLE, key[1:])


def prefix(
    flags: int, payload_kind: int, deadline: int, sender: bytes, key: bytes, incarnation: int
) -> bytes:
    """Bytes 4 to 55 of a message's header: what does not change from message to message."""
    kind, target = target_of(key)
    head = HEADER.pack(
        0,
        HEADER_VERSION,
        MESSAGE_KIND,
        flags,
        payload_kind,
        kind,
        0,
        deadline,
        sender,
        target,
        incarnation,
        0,
        NO_SOURCE,
        NO_TRACE,
    )
    return head[4:56]


def too_long(payload: bytes) -> Optional[str]:
    """What to say about a payload that fits into no frame."""
    if len(payload) <= FRAME_BYTES_MAX - HEADER_BYTES:
        return None
    return "a message of %d bytes is longer than the %d that a message may have" % (
        len(payload),
        FRAME_BYTES_MAX - HEADER_BYTES,
    )


def check(header: Header) -> int:
    """Length of the frame, checked; raises ProtocolError."""
    size = header[LENGTH] + 4
    if not HEADER_BYTES <= size <= FRAME_BYTES_MAX:
        raise ProtocolError("a frame of %d bytes" % size)
    if header[VERSION] != HEADER_VERSION:
        raise ProtocolError("header version %d" % header[VERSION])
    return size


def envelope(document: bytes, header: Header, payload: Any) -> bytes:
    """Payload of an envelope: a JSON document and the whole frame that it is about."""
    return b"".join((ENVELOPE.pack(len(document)), document, HEADER.pack(*header), payload))


def open_envelope(payload: Any) -> Tuple[bytes, Header, Any]:
    """The document of an envelope, and header and payload of the frame in it."""
    view = memoryview(payload)
    (length,) = ENVELOPE.unpack_from(view, 0)
    start = ENVELOPE.size + length
    header = HEADER.unpack_from(view, start)
    end = start + check(header)
    if end > len(view):
        raise ProtocolError("the frame in an envelope is cut off")
    return bytes(view[ENVELOPE.size : start]), header, view[start + HEADER_BYTES : end]
