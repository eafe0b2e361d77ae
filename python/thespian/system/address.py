"""Addresses of actors and of roles.

An actor address is one incarnation of one actor, allotted before the actor is placed: hash and
equality never change. A role address is a group and a role, resolved when a message is delivered.
Not here: how addresses are allotted (``worker``, and the node).
"""

import hashlib
from typing import Any, Optional, Tuple

ROLE_MARK = b"R"
# The node's own address has this serial.
NODE_SERIAL = 1


class ActorAddress:
    """Where to send to; made by the runtime only, hashable and picklable."""

    # 16 bytes for an actor; a role's has ROLE_MARK in front.
    __slots__ = ("_key",)

    _key: bytes

    def __init__(self, *_args: Any) -> None:
        raise TypeError("actor addresses are made by the actor system only")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ActorAddress) and self._key == other._key

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def addressDetails(self) -> str:
        """The part of the text behind ``ActorAddr-``."""
        return "(D|%s)" % self._key.hex()

    @property
    def actorAddressString(self) -> str:
        """The address as text, without ``ActorAddr-``."""
        return str(self.addressDetails)

    def __str__(self) -> str:
        return "ActorAddr-" + self.addressDetails

    __repr__ = __str__

    def __reduce__(self) -> Tuple[Any, ...]:
        return restore_address, (self._key,)

    def __copy__(self) -> "ActorAddress":
        return self

    def __deepcopy__(self, _memo: Any) -> "ActorAddress":
        return self


class LiteralAddress(ActorAddress):
    """A client that sends and reads literals only; it stays known as one where it is passed on."""

    __slots__ = ()

    def __reduce__(self) -> Tuple[Any, ...]:
        return restore_literal, (self._key,)


class RoleAddress(ActorAddress):
    """The actor that plays a role of a group, whichever that is when a message arrives."""

    __slots__ = ("group", "role")

    group: Optional[str]
    role: Optional[str]

    @property
    def addressDetails(self) -> str:
        """The part of the text behind ``ActorAddr-``."""
        if self.role is None:
            return "(R|%s)" % self._key[1:].hex()
        return "(R|%s|%s)" % (self.group, self.role)

    def __reduce__(self) -> Tuple[Any, ...]:
        if self.role is None:
            return restore_address, (self._key,)
        return restore_role, (self.group, self.role)


def restore_address(key: bytes) -> ActorAddress:
    """The address with this key: an actor's 16 bytes, or a role's behind ``ROLE_MARK``."""
    if type(key) is not bytes:
        raise TypeError("the key of an actor address is bytes, not `%s`" % type(key).__name__)
    if len(key) == 17 and key[:1] == ROLE_MARK:
        role = object.__new__(RoleAddress)
        role._key, role.group, role.role = key, None, None
        return role
    if len(key) != 16:
        raise ValueError("an actor address has 16 bytes, not %d" % len(key))
    address = object.__new__(ActorAddress)
    address._key = key
    return address


def restore_literal(key: bytes) -> LiteralAddress:
    """The address with this key, of a client that sends literals."""
    address = object.__new__(LiteralAddress)
    address._key = restore_address(key)._key
    return address


def restore_role(group: str, role: str) -> RoleAddress:
    """The address of a role of a group."""
    digest = hashlib.sha256(group.encode() + b"\0" + role.encode()).digest()
    address = object.__new__(RoleAddress)
    address._key, address.group, address.role = ROLE_MARK + digest[:16], group, role
    return address


def allot(incarnation: int, serial: int) -> ActorAddress:
    """The address with this serial under a node's run."""
    return restore_address(incarnation.to_bytes(8, "big") + serial.to_bytes(8, "big"))


def from_hex(text: str, role: bool = False) -> ActorAddress:
    """The address that the node wrote as 32 hexadecimal digits."""
    key = bytes.fromhex(text)
    return restore_address(ROLE_MARK + key if role else key)
