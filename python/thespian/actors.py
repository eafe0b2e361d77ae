"""The API of actors: import everything from here, as Thespian applications do.

``from thespian.actors import *`` also gives ``logging``, ``inspect`` and ``contextmanager``, which
existing sources rely on.
"""

import inspect
import logging
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Callable, Dict, Optional, TypeVar, Union

from thespian.system.address import ActorAddress, RoleAddress
from thespian.system.client import ActorSystem
from thespian.system.errors import (
    ActorStartFailure,
    ActorSystemException,
    ActorSystemFailure,
    ActorSystemRequestTimeout,
    ActorSystemStartupFailure,
    InvalidActorAddress,
    InvalidActorSourceHash,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    UnsupportedOperation,
)
from thespian.system.messages import (
    ActorExitRequest,
    ActorSystemConventionUpdate,
    ActorSystemMessage,
    ChildActorExited,
    DeadEnvelope,
    LoadedSource,
    PoisonMessage,
    ThespianWatch,
    UnloadedSource,
    ValidatedSource,
    ValidateSource,
    WakeupMessage,
    WatchMessage,
)
from thespian.system.messages.status import (
    Thespian_ActorStatus,
    Thespian_StatusReq,
    Thespian_SystemStatus,
)

# Type checkers read plain strings only.
__all__ = [
    "Actor",
    "ActorTypeDispatcher",
    "requireCapability",
    "ThespianGeneration",
    "ActorSystem",
    "ExternalContext",
    "ActorAddress",
    "RoleAddress",
    "ActorSystemException",
    "ActorSystemFailure",
    "ActorSystemRequestTimeout",
    "ActorSystemStartupFailure",
    "ActorStartFailure",
    "InvalidActorAddress",
    "InvalidActorSourceHash",
    "InvalidActorSpecification",
    "NoCompatibleSystemForActor",
    "UnsupportedOperation",
    "ActorSystemMessage",
    "ActorExitRequest",
    "ChildActorExited",
    "ActorSystemConventionUpdate",
    "DeadEnvelope",
    "LoadedSource",
    "PoisonMessage",
    "UnloadedSource",
    "ValidateSource",
    "ValidatedSource",
    "WakeupMessage",
    "WatchMessage",
    "ThespianWatch",
    "Thespian_ActorStatus",
    "Thespian_StatusReq",
    "Thespian_SystemStatus",
    "logging",
    "inspect",
    "contextmanager",
]
# Generation of the API: that of Thespian 4.0.1.
ThespianGeneration = (3, 10)
ActorClass = TypeVar("ActorClass", bound=type)
# A private context is an `ActorSystem` with an endpoint of its own.
ExternalContext = ActorSystem


class Actor:
    """Base of all actors; override ``receiveMessage``."""

    # What carries out the operations; set once the actor is constructed.
    _myRef: Any = None

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> Any:
        """Called with each message, one at a time."""
        raise AssertionError("%s has no receiveMessage" % type(self).__name__)

    @property
    def myAddress(self) -> ActorAddress:
        """The actor's own address."""
        return self._myRef.address

    @property
    def globalName(self) -> Optional[str]:
        """The name that the actor was created with, or None."""
        return self._myRef.global_name

    def createActor(
        self,
        actorClass: Union[type, str],
        targetActorRequirements: Optional[Dict[str, Any]] = None,
        globalName: Optional[str] = None,
        sourceHash: Optional[str] = None,
    ) -> ActorAddress:
        """Starts another actor and returns its address at once.

        A failure comes as ChildActorExited.
        """
        return self._myRef.create(actorClass, targetActorRequirements, globalName, sourceHash)

    def send(self, targetAddr: ActorAddress, msg: Any) -> None:
        """Sends a message; it is pickled now."""
        self._myRef.send(targetAddr, msg)

    def wakeupAfter(self, timePeriod: Union[timedelta, float], payload: Any = None) -> None:
        """Has a WakeupMessage sent to this actor after a timedelta or a number of seconds."""
        self._myRef.wakeup_after(timePeriod, payload)

    def handleDeadLetters(self, startHandling: bool = True) -> None:
        """Makes this actor the one that gets DeadEnvelopes, or no longer."""
        self._myRef.handle_dead_letters(startHandling)

    def logger(self, name: Optional[str] = None) -> logging.LoggerAdapter:
        """A logger whose records carry the actor's address."""
        extra = {"actorAddress": str(self._myRef.address) if self._myRef else ""}
        return logging.LoggerAdapter(logging.getLogger(name), extra)

    def actorSystemShutdown(self) -> None:
        """Stops the node and all its actors."""
        self._myRef.request("shutdown")

    def notifyOnSystemRegistrationChanges(self, startHandling: bool = True) -> None:
        """Subscribes to ActorSystemConventionUpdate, or no longer."""
        self._myRef.notify_members(startHandling)

    def registerSourceAuthority(self) -> None:
        """Makes this actor the system's source authority: it gets ValidateSource."""
        self._myRef.register_source_authority()

    def notifyOnSourceAvailability(self, enable: bool = True) -> None:
        """Subscribes to LoadedSource and UnloadedSource, or no longer."""
        self._myRef.notify_sources(enable)

    def loadActorSource(self, fname: Any) -> str:
        """Loads a source from a path or file object; returns its hash, before it is validated."""
        return self._myRef.load_source(fname)

    def unloadActorSource(self, sourceHash: str) -> None:
        """Unloads a source; its actors go on."""
        self._myRef.unload_source(sourceHash)

    def updateCapability(self, capabilityName: str, capabilityValue: Any = None) -> None:
        """Sets a capability of the system; None removes it."""
        self._myRef.update_capability(capabilityName, capabilityValue)

    def preRegisterRemoteSystem(self, remoteAddress: Any, remoteCapabilities: Any) -> None:
        """Invites the system at ``host:port`` into this one's convention, until it is deregistered.

        It is one that a program of the same user has started on this host, or will; for all others
        UnsupportedOperation says how they join. ``remoteCapabilities`` is what it is taken to offer
        while it is on its way. Returns when it has come, or after 1.5 s.
        """
        self._myRef.invite_system(remoteAddress, remoteCapabilities)

    def deRegisterRemoteSystem(self, remoteAddress: Any) -> None:
        """Invites a system no longer, and lets it go: it goes on as a convention of its own.

        ``host:port``, or the address by which ActorSystemConventionUpdate has told of it.
        """
        self._myRef.dismiss_system(remoteAddress)


class _Super:
    """The kind of ``ActorTypeDispatcher.SUPER``: one object, also across copies."""

    def __repr__(self) -> str:
        return "SUPER"


class ActorTypeDispatcher(Actor):
    """Calls ``receiveMsg_<class name>`` by the message's class, the most derived first.

    A handler that returns ``self.SUPER`` passes on to the next definition of the same handler in
    the actor's base classes, then to the message's next base class.
    """

    SUPER = _Super()

    def receiveMessage(self, message: Any, sender: ActorAddress) -> Any:
        """Finds the handler and calls it."""
        own = type(self)
        for message_class in type(message).__mro__:
            name = "receiveMsg_" + message_class.__name__
            if not hasattr(own, name):
                continue
            for definer in own.__mro__:
                handler = definer.__dict__.get(name)
                if handler is None:
                    continue
                result = handler.__get__(self, own)(message, sender)
                if result is not self.SUPER:
                    return result
        unrecognized = getattr(self, "receiveUnrecognizedMessage", None)
        return unrecognized(message, sender) if unrecognized is not None else None


def requireCapability(cap: str, value: Any = None) -> Callable[[ActorClass], ActorClass]:
    """Class decorator: the actor runs only where the capability is true, or equal to ``value``."""

    def decorate(cls: Any) -> Any:
        before = getattr(cls, "actorSystemCapabilityCheck", None)

        def check(capabilities: Dict[str, Any], requirements: Any) -> bool:
            have = capabilities.get(cap)
            here = bool(have) if value is None else cap in capabilities and have == value
            return here and (before is None or bool(before(capabilities, requirements)))

        cls.actorSystemCapabilityCheck = staticmethod(check)
        return cls

    return decorate


def is_actor(value: Any) -> bool:
    """Whether this is an actor class of an application."""
    own = (Actor, ActorTypeDispatcher)
    return isinstance(value, type) and issubclass(value, Actor) and value not in own
