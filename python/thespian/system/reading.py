"""From a message frame to the object that the application sees, by the rule of trust.

Not here: what is allowed (``trust``); who answers a refusal (``worker``).
"""

import ast
import pickle
from typing import Any, Callable, Dict, Optional

from thespian.system import address, control, trust, wire
from thespian.system.messages import (
    ActorExitRequest,
    ActorSystemConventionUpdate,
    ChildActorExited,
    DeadEnvelope,
    LoadedSource,
    PoisonMessage,
    UnloadedSource,
    Unreadable,
    ValidateSource,
    status,
)

_loads = pickle.loads


class CapabilitiesChanged:
    """The node has other capabilities now; the runtime deals with it, actors do not see it."""

    def __init__(self, capabilities: str) -> None:
        self.capabilities = capabilities


class Reader:
    """Reads the messages that one actor or client receives."""

    def __init__(self, own: bytes, incarnation: int, source: bytes, rule: trust.Rule) -> None:
        self._own = own
        self._incarnation = incarnation
        self._source = source
        self._rule = rule
        # Only these addresses' envelopes are the node's, whose inner frame it has checked.
        self._node = (wire.NOBODY, own, address.allot(incarnation, address.NODE_SERIAL)._key)

    def read(self, header: wire.Header, payload: Any) -> Any:
        """The message in a frame; raises trust.Refused, or whatever reading it raises."""
        kind = header[wire.PAYLOAD_KIND]
        if kind == wire.PICKLE:
            flags = header[wire.FLAGS]
            if flags & wire.FOREIGN:
                same = self._same_source(header)
                return self._rule.loads(payload, same, stranger=not same)
            if flags & wire.PROGRAM:
                # Its node runs as this one's user, and it is of the receiver's own program.
                return _loads(payload)
            if flags & wire.REMOTE:
                # What else it says of where it was written, another node has said.
                return self._rule.loads(payload, self._same_source(header))
            if header[wire.SOURCE] == self._source and header[10] == self._incarnation:
                return _loads(payload)
            return self._rule.loads(payload, self._same_source(header))
        if kind == wire.LITERAL:
            if len(payload) > wire.LITERAL_BYTES_MAX:
                raise ValueError(
                    "a literal of %d bytes is longer than the %d that are read"
                    % (len(payload), wire.LITERAL_BYTES_MAX)
                )
            return ast.literal_eval(bytes(payload).decode())
        if kind == wire.JSON:
            return _system_message(control.decode(payload), self._is_of_node(header))
        if kind == wire.ENVELOPE_PAYLOAD:
            return self._open(header, payload)
        if kind == wire.RAW:
            return bytes(payload)
        return None

    def _is_of_node(self, header: wire.Header) -> bool:
        # Another node could name any sender that this one does not know.
        near = not header[wire.FLAGS] & (wire.FOREIGN | wire.REMOTE)
        return near and header[wire.SENDER] in self._node

    def _same_source(self, header: wire.Header) -> bool:
        return header[wire.SOURCE] == self._source and self._source != wire.NO_SOURCE

    def _open(self, outer: wire.Header, payload: Any) -> Any:
        document, inner, body = wire.open_envelope(payload)
        told = control.decode(document)
        message = self._inner(outer, inner, body)
        if told.get("system") == "dead_envelope":
            target = address.from_hex(told["target"], bool(told.get("role")))
            return DeadEnvelope(target, message)
        return PoisonMessage(message, told.get("details"))

    def _inner(self, outer: wire.Header, inner: wire.Header, body: Any) -> Any:
        """The message that came back. Its header is as trustworthy as who wrapped it."""
        by_node = self._is_of_node(outer)
        if not by_node:
            inner = inner[: wire.SENDER] + (outer[wire.SENDER],) + inner[wire.TARGET :]
            inner = inner[: wire.SOURCE] + (outer[wire.SOURCE],) + inner[wire.TRACE :]
            inner = inner[:10] + (outer[wire.INCARNATION],) + inner[11:]
        # What came from a stranger or another node stays so, whoever passes it on.
        flags = inner[wire.FLAGS] | (outer[wire.FLAGS] & (wire.FOREIGN | wire.REMOTE))
        if not by_node and not self._is_own_program(outer, inner):
            flags &= ~wire.PROGRAM
        elif outer[wire.FLAGS] & wire.PROGRAM and not inner[wire.FLAGS] & wire.REMOTE:
            flags |= wire.PROGRAM
        inner = inner[: wire.FLAGS] + (flags,) + inner[wire.PAYLOAD_KIND :]
        try:
            return self.read(inner, body)
        except Exception as error:
            return Unreadable(str(error))

    def _is_own_program(self, outer: wire.Header, inner: wire.Header) -> bool:
        """Whether what a message says of the one in it is said by the receiver's own program."""
        flags = outer[wire.FLAGS]
        if flags & wire.FOREIGN:
            return False
        if flags & wire.REMOTE:
            return bool(flags & wire.PROGRAM)
        return bool(outer[wire.SOURCE] == self._source and outer[10] == self._incarnation)


def _system_message(document: control.Document, by_node: bool) -> Optional[Any]:
    name = document.get("system")
    if name == "actor_exit_request":
        return ActorExitRequest(bool(document.get("recursive", True)))
    if name == "status_request":
        return status.Thespian_StatusReq()
    if name == "system_status":
        # Of whichever node was asked; it tells nothing that an actor acts by.
        return _system_status(document)
    make = _OF_THE_NODE.get(str(name))
    if make is None:
        raise ValueError("the node sent the unknown system message `%s`" % name)
    if not by_node:
        raise ValueError("only the node sends the system message `%s`" % name)
    return make(document)


def _validate_source(document: control.Document) -> ValidateSource:
    with open(document["path"], "rb") as file:
        return ValidateSource(document["hash"], file.read(), document["info"])


def _convention_update(document: control.Document) -> ActorSystemConventionUpdate:
    admin = address.from_hex(document["admin"])
    capabilities = ast.literal_eval(document["capabilities"])
    return ActorSystemConventionUpdate(admin, capabilities, bool(document["added"]))


def _system_status(document: control.Document) -> status.Thespian_SystemStatus:
    def maybe(key: str) -> Optional[address.ActorAddress]:
        return address.from_hex(document[key]) if document.get(key) else None

    answer = status.Thespian_SystemStatus(
        address.from_hex(document["admin"]),
        maybe("leader"),
        ast.literal_eval(document["capabilities"]),
        bool(document["stopping"]),
    )
    members, named = document["members"], document["named"]
    answer.conventionAttendees = [(address.from_hex(who), how) for who, how in members]
    answer.childActors = [address.from_hex(actor) for actor in document["actors"]]
    answer.globalActors = {name: address.from_hex(actor) for name, actor in named}
    answer.loadedSources = [(hash_, info) for hash_, info in document["sources"]]
    answer.sourceAuthority = maybe("authority")
    answer.notifyAddresses = [address.from_hex(actor) for actor in document["told_of_members"]]
    return answer


_OF_THE_NODE: Dict[str, Callable[[control.Document], Any]] = {
    "child_actor_exited": lambda told: ChildActorExited(address.from_hex(told["child"])),
    "capabilities": lambda told: CapabilitiesChanged(told["capabilities"]),
    "convention_update": _convention_update,
    "validate_source": _validate_source,
    "loaded_source": lambda told: LoadedSource(told["hash"], told["info"]),
    "unloaded_source": lambda told: UnloadedSource(told["hash"], told["info"]),
}
