"""Exceptions that actors and external programs see.

Not here: what raises them (``client``, ``worker``).
"""

from typing import Any, Optional


class ActorSystemException(Exception):
    """Base of every exception of the actor system."""


class InvalidActorAddress(ActorSystemException):
    """Something that should be an actor address is none."""

    def __init__(self, addr: Any, desc: str = "not a valid ActorAddress") -> None:
        super().__init__(addr, desc)
        self.actorAddress = addr
        self._desc = desc

    def __str__(self) -> str:
        return "%s is %s" % (self.actorAddress, self._desc)


class ActorSystemFailure(ActorSystemException):
    """The actor system could not do what an external program asked for."""


class ActorSystemStartupFailure(ActorSystemFailure):
    """The actor system could not be started or reached."""


class ActorSystemRequestTimeout(ActorSystemFailure):
    """A request of an external program was not answered in time."""


class ActorStartFailure(ActorSystemFailure):
    """The actor's constructor raised; ``traceback`` has the Python traceback as text."""

    def __init__(self, message: str, traceback: Optional[str] = None) -> None:
        super().__init__(message, traceback)
        self.traceback = traceback

    def __str__(self) -> str:
        message = str(self.args[0])
        return "%s\n%s" % (message, self.traceback) if self.traceback else message


class NoCompatibleSystemForActor(ActorSystemException):
    """No actor system passes the actor's capability check."""

    def __init__(self, actorClass: Any, msg: str = "No compatible ActorSystem") -> None:
        super().__init__(actorClass, msg)
        self.actorClass = actorClass
        self._msg = msg

    def __str__(self) -> str:
        return "%s for Actor %s" % (self._msg, self.actorClass)


class InvalidActorSourceHash(ActorSystemException):
    """The hash names no loaded source."""

    def __init__(self, sourceHash: Any) -> None:
        super().__init__(sourceHash)
        self.sourceHash = sourceHash

    def __str__(self) -> str:
        return "Invalid Actor SourceHash: %s" % (self.sourceHash,)


class InvalidActorSpecification(ActorSystemException):
    """The thing given to createActor is no actor class and no qualified name of one."""

    def __init__(self, spec: Any, reason: Optional[Any] = None) -> None:
        super().__init__(spec, reason)
        self.actorSpec = spec
        self._reason = reason

    def __str__(self) -> str:
        text = "Invalid Actor Specification: %s" % (self.actorSpec,)
        return "%s (%s)" % (text, self._reason) if self._reason else text


class UnsupportedOperation(ActorSystemException):
    """This version of Director does not offer the operation."""
