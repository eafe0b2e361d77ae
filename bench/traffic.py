"""Counts the bytes that leave one UDP port of the loopback, as the kernel hands them to the device.

A packet socket with a filter sees every datagram with its headers; what it had no room for is told.
Needs CAP_NET_RAW. With segmentation offload the headers of a run of datagrams are counted once.
"""

import contextlib
import ctypes
import select
import socket
import struct
import threading
from typing import Iterator, Optional

_ALL_PROTOCOLS, _SOL_PACKET, _STATISTICS, _ATTACH_FILTER = 3, 263, 6, 26
_IP_HEADER = 20
_BUFFER_BYTES = 64 << 20


class Upload:
    """What was sent from a port; complete once the counting has ended."""

    bytes = 0
    unseen = 0


@contextlib.contextmanager
def sent_from(port: int) -> Iterator[Optional[Upload]]:
    """Counts while the block runs; None where this process may not look."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
    except PermissionError:
        yield None
        return
    with sock:
        upload, ended = Upload(), threading.Event()
        _listen(sock, port)
        thread = threading.Thread(target=_count, args=(sock, upload, ended))
        thread.start()
        try:
            yield upload
        finally:
            ended.set()
            thread.join()


def _listen(sock: socket.socket, port: int) -> None:
    # Departing IPv4 UDP of this source port: the first 20 bytes of each, the IP header.
    program = [
        (0x30, 0, 0, 0xFFFFF004),  # the packet's type
        (0x15, 0, 6, 4),  # departing
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 4, 17),  # UDP
        (0xB1, 0, 0, 0),  # the header's length
        (0x48, 0, 0, 0),  # the source port
        (0x15, 0, 1, port),
        (0x06, 0, 0, _IP_HEADER),
        (0x06, 0, 0, 0),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code)
    order = struct.pack("HL", len(program), ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, order)
    # SO_RCVBUFFORCE, which the root of a user namespace may not.
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER_BYTES)
    sock.bind(("lo", _ALL_PROTOCOLS))


def _count(sock: socket.socket, upload: Upload, ended: threading.Event) -> None:
    """Until the end is told and nothing is left to read."""
    while True:
        last = ended.is_set()
        while select.select([sock], [], [], 0 if last else 0.05)[0]:
            upload.bytes += struct.unpack_from("!H", sock.recv(_IP_HEADER), 2)[0]
        if last:
            break
    statistics = sock.getsockopt(_SOL_PACKET, _STATISTICS, 8)
    upload.unseen = struct.unpack("II", statistics)[1]
