"""Credit: how much a sender may have on the way to one target.

Not here: the waiting itself, and the window of what is received (``link``).
"""

from thespian.system import wire

CREDIT_MESSAGES = 4096
CREDIT_BYTES = 4 << 20
WINDOW_BYTES = 1 << 20
INBOX_BYTES_MAX = 64 << 20
# Received bytes that are reported along with the next write.
RIDE_BYTES = 32 << 10
# A wait for credit shorter than this is not worth a notice.
BLOCKED_AFTER_S = 0.05
# A sender forgets its oldest targets beyond this many.
LANES_MAX = 50_000


class Lane:
    """What one sender knows about one target: header prefix, numbering, credit used."""

    __slots__ = ("prefix", "sequence", "messages", "bytes", "free", "literal", "stuck")

    def __init__(self, prefix: bytes, sequence: int, free: bool) -> None:
        self.prefix = prefix
        self.sequence = sequence
        self.messages = 0
        self.bytes = 0
        # Messages to oneself need no credit.
        self.free = free
        # A wait for credit was given up, and none has come since.
        self.stuck = False
        # The target sends literals: it is answered in kind.
        self.literal = False

    def may_send(self) -> bool:
        """Whether both counts are below their limits."""
        return self.messages < CREDIT_MESSAGES and self.bytes < CREDIT_BYTES

    def give_back(self, messages: int, size: int) -> None:
        """Takes a Credit frame into account."""
        self.stuck = False
        self.messages = max(0, self.messages - messages)
        self.bytes = max(0, self.bytes - size)


class Lanes:
    """The lanes of one sender, by the keys of the targets' addresses."""

    def __init__(self) -> None:
        self._lanes: dict = {}
        self._floor = 0
        self.get = self._lanes.get

    def open(self, key: bytes, sender: bytes, incarnation: int) -> Lane:
        """The lane to a target that has none yet."""
        if len(self._lanes) >= LANES_MAX:
            self._forget()
        prefix = wire.prefix(0, wire.PICKLE, 0, sender, key, incarnation)
        lane = self._lanes[key] = Lane(prefix, self._floor, key == sender)
        return lane

    def _forget(self) -> None:
        # Numbers stay ascending per pair: a lane opened again starts above all forgotten ones.
        for key in list(self._lanes)[: LANES_MAX // 4]:
            self._floor = max(self._floor, self._lanes.pop(key).sequence)

    def credit(self, payload: bytes) -> None:
        """Takes a Credit frame into account."""
        kind, target, messages, size = wire.CREDIT.unpack(payload)
        lane = self._lanes.get(target if kind == wire.ACTOR else b"R" + target)
        if lane is not None:
            lane.give_back(messages, size)
