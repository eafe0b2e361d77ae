"""What an actor, or a system, is doing: the request, the answers, and their text.

The actor's process answers by itself; the actor does not see the request.
Not here: what an operator sees (``director list``, ``director dump``).
"""

import sys
from typing import Any, Dict, List, Optional, TextIO, Tuple

from thespian.system.messages import ActorSystemMessage


class Thespian_StatusReq(ActorSystemMessage):
    """Asks an actor for its ``Thespian_ActorStatus``."""


class _Status(ActorSystemMessage):
    """What both answers hold."""

    def __init__(self) -> None:
        # (from, to, text), (to, period), (from, to, text), addresses.
        self.pendingMessages: List[Tuple[Any, Any, str]] = []
        self.pendingWakeups: List[Tuple[Any, Any]] = []
        self.receivedMessages: List[Tuple[Any, Any, str]] = []
        self.childActors: List[Any] = []
        self.miscKeyVals: Dict[str, Any] = {}

    def lines(self) -> List[str]:
        """The answer as text."""
        found = ["  child actor %s" % child for child in self.childActors]
        found += ["  waiting to be sent: %s -> %s: %s" % sent for sent in self.pendingMessages]
        found += ["  waiting to be handled: %s -> %s: %s" % got for got in self.receivedMessages]
        found += ["  wakeup of %s after %s" % wakeup for wakeup in self.pendingWakeups]
        found += ["  %s: %s" % item for item in sorted(self.miscKeyVals.items())]
        return found


class Thespian_ActorStatus(_Status):
    """An actor's answer."""

    def __init__(self, address: Any, actorClass: str, sourceHash: Optional[str] = None) -> None:
        super().__init__()
        self.actorAddress = address
        self.actorClass = actorClass
        self.sourceHash = sourceHash


class Thespian_SystemStatus(_Status):
    """A system's answer."""

    def __init__(self, address: Any, capabilities: Optional[Dict[str, Any]] = None) -> None:
        super().__init__()
        self.adminAddress = address
        self.capabilities = capabilities or {}
        self.globalActors: Dict[str, Any] = {}
        self.loadedSources: List[Tuple[str, str]] = []


def formatStatus(response: Any, tofd: Optional[TextIO] = None) -> None:
    """Writes an answer as text, to standard output if nothing else is named."""
    out = tofd or sys.stdout
    if isinstance(response, Thespian_ActorStatus):
        head = "Status of %s, actor %s" % (response.actorClass, response.actorAddress)
    elif isinstance(response, Thespian_SystemStatus):
        head = "Status of the system %s" % (response.adminAddress,)
    else:
        raise TypeError("`%r` is no status" % (response,))
    out.write("\n".join([head, *response.lines()]) + "\n")
