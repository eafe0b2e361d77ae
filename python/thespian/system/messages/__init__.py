"""Messages of the actor system itself: what actors receive without anyone having sent it.

Not here: how they travel (``wire``, ``trust``).
"""

from typing import Any, List, Optional


class ActorSystemMessage:
    """Base of the messages of the actor system."""


class ActorExitRequest(ActorSystemMessage):
    """Ends the actor once it has handled this."""

    def __init__(self, recursive: bool = True) -> None:
        self._recursive = recursive

    @property
    def isRecursive(self) -> bool:
        """Whether the actor's children end as well."""
        return self._recursive

    def notRecursive(self) -> None:
        """Lets the children live on."""
        self._recursive = False

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ActorExitRequest)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


class _Compared(ActorSystemMessage):
    """A message that is equal to another one of its class with the same ``_same`` attributes."""

    _same: tuple = ()

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, type(self)) and all(
            getattr(self, name) == getattr(other, name) for name in self._same
        )

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join("%s=%r" % (name, getattr(self, name)) for name in self._same)
        return "%s(%s)" % (type(self).__name__, fields)


class ChildActorExited(_Compared):
    """A child actor has ended."""

    _same = ("childAddress",)

    def __init__(self, exitedChildAddress: Any) -> None:
        self.childAddress = exitedChildAddress

    def __str__(self) -> str:
        return "ChildActorExited:%s" % (self.childAddress,)


class PoisonMessage(_Compared):
    """A message that its receiver failed on twice, or could not read, comes back."""

    _same = ("poisonMessage",)

    def __init__(self, poison: Any, details: Optional[str] = None) -> None:
        self.poisonMessage = poison
        self.details = details

    def __str__(self) -> str:
        details = "\n" + str(self.details) if self.details else ""
        return "PoisonMessage of %r%s" % (self.poisonMessage, details)


class DeadEnvelope(_Compared):
    """A message that could not be delivered, for the handler of dead letters."""

    _same = ("deadAddress", "deadMessage")

    def __init__(self, origTgt: Any, origMsg: Any) -> None:
        self.deadAddress = origTgt
        self.deadMessage = origMsg


class WakeupMessage(_Compared):
    """The time of a ``wakeupAfter`` is over."""

    _same = ("delayPeriod", "payload")

    def __init__(self, delayPeriod: Any, payload: Any = None) -> None:
        self.delayPeriod = delayPeriod
        self.payload = payload


class WatchMessage(ActorSystemMessage):
    """Watched descriptors are readable."""

    def __init__(self, ready: List[Any]) -> None:
        self.ready = ready


class ActorSystemConventionUpdate(_Compared):
    """A system has joined or left the convention."""

    _same = ("remoteAdminAddress", "remoteCapabilities", "remoteAdded")

    def __init__(self, adminAddress: Any, capabilities: Any = None, added: bool = True) -> None:
        self.remoteAdminAddress = adminAddress
        self.remoteCapabilities = capabilities
        self.remoteAdded = added


class ValidateSource(_Compared):
    """Asks the source authority to validate a source."""

    _same = ("sourceHash",)

    def __init__(self, sourceHash: str, sourceData: bytes, sourceInfo: Any = None) -> None:
        self.sourceHash = sourceHash
        self.sourceData = sourceData
        self.sourceInfo = sourceInfo


class ValidatedSource(_Compared):
    """Answer of the source authority; without a zip the source is rejected."""

    _same = ("sourceHash",)

    def __init__(self, sourceHash: str, sourceZip: Optional[bytes], sourceInfo: Any = None):
        self.sourceHash = sourceHash
        self.sourceZip = sourceZip
        self.sourceInfo = sourceInfo


class _SourceNotice(ActorSystemMessage):
    def __init__(self, sourceHash: str, sourceInfo: Any) -> None:
        self.sourceHash = sourceHash
        self.sourceInfo = sourceInfo

    def __str__(self) -> str:
        return "%s %s (%s)" % (type(self).__name__, self.sourceHash, self.sourceInfo)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, type(self)) and str(self) == str(other)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


class LoadedSource(_SourceNotice):
    """A source is available from now on."""


class UnloadedSource(_SourceNotice):
    """A source is not available any more."""


class Unreadable(str):
    """Stands for a returned message that may not be read here; the text says why."""


class ThespianWatch:
    """Returned by a handler: descriptors to watch until the next message is handled."""

    def __init__(self, filenos: List[Any]) -> None:
        self.filenos = list(filenos)
