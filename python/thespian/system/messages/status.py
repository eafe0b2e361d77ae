"""What an actor, or a system, is doing: the request, the answers, and their text.

The actor's process answers by itself, the actor does not see the request; a request to a system's
own address (``adminAddress``, ``remoteAdminAddress``) is answered by the node.
Not here: what an operator sees (``director list``, ``director dump``).
"""

import sys
from typing import Any, Callable, Dict, List, Optional, TextIO, Tuple

from thespian.system.messages import ActorSystemMessage


class Thespian_StatusReq(ActorSystemMessage):
    """Asks an actor for its ``Thespian_ActorStatus``, or a system for ``Thespian_SystemStatus``."""


class _Status(ActorSystemMessage):
    """What both answers hold."""

    def __init__(self) -> None:
        # (from, to, text), (to, period), (from, to, text), addresses.
        self.pendingMessages: List[Tuple[Any, Any, str]] = []
        self.pendingWakeups: List[Tuple[Any, Any]] = []
        self.receivedMessages: List[Tuple[Any, Any, str]] = []
        self.childActors: List[Any] = []
        self.miscKeyVals: Dict[str, Any] = {}
        # Nothing here slows senders down on its own account.
        self.governer: Any = None

    def lines(self, show: Callable[[Any], str] = str) -> List[str]:
        """The answer as text; ``show`` makes texts of addresses."""
        found = ["  child actor %s" % show(child) for child in self.childActors]
        for what, messages in (
            ("waiting to be sent", self.pendingMessages),
            ("waiting to be handled", self.receivedMessages),
        ):
            found += ["  %s: %s -> %s: %s" % (what, show(f), show(t), m) for f, t, m in messages]
        found += ["  wakeup of %s after %s" % (show(to), p) for to, p in self.pendingWakeups]
        found += ["  %s: %s" % item for item in sorted(self.miscKeyVals.items())]
        return found


class Thespian_ActorStatus(_Status):
    """An actor's answer."""

    def __init__(
        self,
        address: Any,
        actorClass: Any,
        adminAddress: Any = None,
        parentAddress: Any = None,
        sourceHash: Optional[str] = None,
        exiting: Any = None,
    ) -> None:
        super().__init__()
        self.actorAddress = address
        self.actorClass = str(actorClass)
        self.adminAddress = adminAddress
        self.parentAddress = parentAddress
        self.sourceHash = sourceHash
        self.exiting = exiting

    def lines(self, show: Callable[[Any], str] = str) -> List[str]:
        """The answer as text."""
        of = (("system", self.adminAddress), ("parent", self.parentAddress))
        found = ["  %s %s" % (what, show(address)) for what, address in of if address is not None]
        found += ["  source %s" % self.sourceHash] if self.sourceHash else []
        return found + super().lines(show)


class Thespian_SystemStatus(_Status):
    """A system's answer."""

    def __init__(
        self,
        address: Any,
        conventionLeader: Any = None,
        capabilities: Optional[Dict[str, Any]] = None,
        inShutdown: bool = False,
    ) -> None:
        super().__init__()
        self.adminAddress = address
        # The leader's own address; None where this system leads.
        self.conventionLeader = conventionLeader
        self.capabilities = {} if capabilities is None else capabilities
        self.conventionRegisterTime: Any = None
        # (address, state) of the other members.
        self.conventionAttendees: List[Tuple[Any, Any]] = []
        self.deadLetterHandler: Any = None
        self.deadLetterAddresses: List[Any] = []
        self.notifyAddresses: List[Any] = []
        self.globalActors: Dict[str, Any] = {}
        self.inShutdown = inShutdown
        self.sourceAuthority: Any = None
        # (hash, where it came from).
        self.loadedSources: List[Tuple[str, str]] = []

    def lines(self, show: Callable[[Any], str] = str) -> List[str]:
        """The answer as text."""
        found = ["  capability %s: %r" % item for item in sorted(self.capabilities.items())]
        for what, address in (
            ("leader of the convention", self.conventionLeader),
            ("source authority", self.sourceAuthority),
            ("handler of dead letters", self.deadLetterHandler),
        ):
            found += ["  %s %s" % (what, show(address))] if address is not None else []
        found += ["  member %s: %s" % (show(who), how) for who, how in self.conventionAttendees]
        found += ["  told of members: %s" % show(who) for who in self.notifyAddresses]
        found += ["  source %s (%s)" % source for source in self.loadedSources]
        named = sorted(self.globalActors.items())
        found += ["  global name %s: %s" % (name, show(who)) for name, who in named]
        return found + super().lines(show)


def formatStatus(
    response: Any, showAddress: Callable[[Any], str] = str, tofd: Optional[TextIO] = None
) -> None:
    """Writes an answer as text, to standard output if nothing else is named."""
    out = tofd or sys.stdout
    lines: List[str] = []
    if isinstance(response, Thespian_ActorStatus):
        shown = (response.actorClass, showAddress(response.actorAddress))
        lines = ["Status of %s, actor %s" % shown, *response.lines(showAddress)]
    elif isinstance(response, Thespian_SystemStatus):
        head = "Status of the system %s" % showAddress(response.adminAddress)
        head += ", which is shutting down" if response.inShutdown else ""
        lines = [head, *response.lines(showAddress)]
    else:
        lines = ["Answer to a request for the status: %s" % (response,)]
    out.write("\n".join(lines) + "\n")
