"""The actor ``Director``: dictionaries of built-in types in, dictionaries of built-in types out.

The node starts it when somebody first looks for its name; it asks the node for everything that it
answers and keeps only what was declared and who waits for a notification.
Not here: what a load is (the node), the commands (``thespian.director``).
"""

import collections
import getpass
import hashlib
import logging
import os
from datetime import datetime
from typing import Any, BinaryIO, Deque, Dict, List, NamedTuple, Optional

from thespian.actors import ActorSystemMessage, ActorTypeDispatcher, ThespianWatch
from thespian.system import address, control, director_line, literal, wire
from thespian.system.errors import ActorSystemFailure

NAME = "Director"
REQUEST_LIMIT_S = 5.0
# Requesters whose last answer is remembered; beyond it, those of long ago are new again.
REMEMBERED = 10_000
_log = logging.getLogger("thespian.director")
Answer = Dict[str, Any]


class _Load(NamedTuple):
    """A package that waits for its turn; its file is open, so that a change of name is none."""

    group: str
    path: str
    package: BinaryIO
    hash: str


class _Refused(Exception):
    """Why an operation is not carried out; the requester is told."""


class Director(ActorTypeDispatcher):
    """Declares groups, loads sources and tells what runs, by messages.

    Every message is a dictionary whose ``DirectorOp`` names the operation; every answer is one
    whose ``DirectorResponse`` names what it is, with ``Success`` True or False and, where it is
    False for a reason, ``Error``. The operations are the methods named after them:
    ``DefineGroup``, ``LoadSource``, ``RetrieveAll``, ``RetrieveRole``, ``RequestNotification``.
    An operation that is none of them gets the answer ``UnknownOperation``.

    Only programs of the node's own user, and their own actors, may declare and load; actors of
    loaded sources, other users and other hosts may retrieve and wait.
    """

    def __init__(self) -> None:
        self._line: Any = None
        self._directory = ""
        self._definitions: Dict[str, Any] = {}
        self._loads: Deque[_Load] = collections.deque()
        self._loading: Optional[_Load] = None
        self._load_number = 0
        self._watch_number = 0
        # What the activations look like, and what each requester was last told of them.
        self._mark = ""
        self._told: Dict[Any, str] = {}
        self._waiting: List[Any] = []

    # Messages

    def receiveMsg_dict(self, message: Dict[Any, Any], sender: Any) -> Any:
        """An operation."""
        self._connect()
        self._settle()
        if "DirectorOp" not in message and "DirectorResponse" in message:
            return self._watch()
        name = message.get("DirectorOp")
        operation = _OPERATIONS.get(name) if isinstance(name, str) else None
        if operation is None:
            self.send(sender, _unknown(name))
        else:
            answer = operation(self, message, sender)
            if answer is not None:
                self.send(sender, answer)
        self._settle()
        return self._watch()

    def receiveMsg_WatchMessage(self, _message: Any, _sender: Any) -> Any:
        """The node has said something."""
        self._settle()
        return self._watch()

    def receiveUnrecognizedMessage(self, message: Any, sender: Any) -> Any:
        """Whatever else comes gets an answer, too."""
        if not isinstance(message, ActorSystemMessage):
            self.send(sender, _unknown(message))
        return self._watch() if self._line is not None else None

    # Operations

    def DefineGroup(self, message: Dict[Any, Any], sender: Any) -> Answer:
        """Declares what the Director does with the sources of a group that are loaded later.

        ``{'DirectorOp': 'DefineGroup', 'Group': name, 'Actors': {class: {'OnLoad': {'Role': ...,
        'GlobalName': ..., 'Message': ...}, 'OnDeactivate': {'Message': ...}, 'OnReactivate':
        {'Message': ...}}}, 'AutoUnload': True or a number}``: the keys of a ``.tli`` file.
        Answer: ``{'DirectorResponse': 'DeclaredGroup', 'Success': True}``.
        """
        answer: Answer = {"DirectorResponse": "DeclaredGroup", "Success": True}
        try:
            self._check_rights()
            group = _group_of(message)
            keys = {key: value for key, value in message.items() if key not in _NOT_OF_TLI}
            text, is_literal = literal.encode(keys)
            if not is_literal:
                raise _Refused("a definition holds numbers, strings, lists and the like only")
            told = self._ask("read_definition", group=group, text=text.decode())
            self._definitions[group] = told["definition"]
        except _Refused as reason:
            answer.update(Success=False, Error=str(reason))
        self._remember(sender)
        return answer

    def LoadSource(self, message: Dict[Any, Any], sender: Any) -> Answer:
        """Loads a package for a group that was declared.

        ``{'DirectorOp': 'LoadSource', 'Source': path, 'Group': name}``; the Director opens the
        path, which is relative to the Director directory. Without a group it is the declared one
        that the file's name begins with. Answer: ``{'DirectorResponse': 'SourceLoading',
        'Success': True, 'SourceHash': hash}`` as soon as the bytes are read; whether the source
        is valid shows when it is active (``RequestNotification``) or in the log.
        """
        answer: Answer = {
            "DirectorResponse": "SourceLoading",
            "Success": True,
            "SourceHash": None,
        }
        try:
            self._check_rights()
            path = message.get("Source")
            if not isinstance(path, str) or not path:
                raise _Refused("`Source` has to be the path of a package")
            group = self._declared(message, path)
            load = _open(group, os.path.join(self._directory, path))
            answer["SourceHash"] = load.hash
            self._loads.append(load)
        except _Refused as reason:
            answer.update(Success=False, Error=str(reason))
        self._remember(sender)
        return answer

    def RetrieveAll(self, message: Dict[Any, Any], sender: Any) -> Answer:
        """Tells what is loaded and running, of all groups or of one.

        ``{'DirectorOp': 'RetrieveAll'}``, with ``'Group': name`` for one. Answer:
        ``{'DirectorResponse': 'AllAddresses', 'Success': True, 'Groups': {group: {'ActiveHash':
        hash, 'Loaded': [hash, ...], 'Running': {hash: [{'ActorClass': ..., 'Role': ...,
        'ActorAddress': ..., 'StartTime': ...}]}}}}``. ``Loaded`` is oldest first; an
        ``ActorAddress`` of None is an actor that does not run.
        """
        self._remember(sender, now=True)
        try:
            told = self._ask("list", group=_text_or_none(message, "Group"), stale=True)
        except _Refused as reason:
            return {
                "DirectorResponse": "AllAddresses",
                "Success": False,
                "Groups": {},
                "Error": str(reason),
            }
        groups = {listed["group"]: _group(listed) for listed in told["groups"]}
        return {"DirectorResponse": "AllAddresses", "Success": True, "Groups": groups}

    def RetrieveRole(self, message: Dict[Any, Any], sender: Any) -> Answer:
        """Finds the active actor that plays a role.

        ``{'DirectorOp': 'RetrieveRole', 'Role': role}``, with ``'Group': name`` to look in one
        group. Answer: ``{'DirectorResponse': 'RoleAddress', 'Success': True, 'Group': ...,
        'SourceHash': ..., 'ActorClass': ..., 'Role': role, 'ActorAddress': ..., 'StartTime':
        ...}`` and, in addition, ``'RoleAddress'``, which stays good through updates. If nobody
        plays it, ``Success`` is False, all else None.
        """
        self._remember(sender, now=True)
        role = message.get("Role")
        try:
            if not isinstance(role, str):
                raise _Refused("`Role` has to be a string")
            told = self._ask("resolve", target=role, group=_text_or_none(message, "Group"))
        except _Refused as reason:
            return dict(no_role(role, message.get("Group")), Error=str(reason))
        found = [match for match in told["matches"] if match["kind"] == "role" and match["actor"]]
        return role_address(found[0], role) if found else no_role(role, message.get("Group"))

    def RequestNotification(self, _message: Dict[Any, Any], sender: Any) -> Optional[Answer]:
        """Has the requester told, once, when what is active changes.

        ``{'DirectorOp': 'RequestNotification'}``. Answer, at the next change:
        ``{'DirectorResponse': 'NotificationOfUpdate', 'Success': True}``. A change since the
        requester's last answer counts: between an answer and the next request none is lost.
        """
        if self._told.get(sender, self._mark) != self._mark:
            self._remember(sender, now=True)
            return dict(_NOTIFICATION)
        self._remember(sender)
        if sender not in self._waiting:
            self._waiting.append(sender)
        return None

    # The node

    def _connect(self) -> None:
        if self._line is None:
            workers_socket = self._myRef.link.sock.getpeername()
            self._line = director_line.DirectorLine(workers_socket)
            self._directory = self._line.request(REQUEST_LIMIT_S, "status")["directory"]
            first = self._line.request(REQUEST_LIMIT_S, "await_activation", known=None)
            self._mark = first["mark"]
            self._watch_number = self._line.begin("await_activation", known=self._mark)

    def _watch(self) -> ThespianWatch:
        return ThespianWatch([self._line.fileno()])

    def _ask(self, op: str, **fields: Any) -> control.Document:
        try:
            told = self._line.request(REQUEST_LIMIT_S, op, **fields)
        except ActorSystemFailure as error:
            raise _Refused(str(error)) from error
        if told.get("answer") == "failed":
            raise _Refused(_reason(told))
        return told

    def _settle(self) -> None:
        """Takes what the node has answered, and begins the next load."""
        came = self._line.collect()
        if self._watch_number in came:
            self._activated(came[self._watch_number])
        if self._loading is not None and self._load_number in came:
            self._loaded(self._loading, came[self._load_number])
            self._loading = None
        while self._loading is None and self._loads:
            self._begin_load(self._loads.popleft())

    def _activated(self, told: control.Document) -> None:
        if told.get("answer") != "activation":
            raise ActorSystemFailure("the node tells of no activations: %s" % _reason(told))
        if told["mark"] != self._mark:
            self._mark = told["mark"]
            waiting, self._waiting = self._waiting, []
            for requester in waiting:
                self._remember(requester, now=True)
                self.send(requester, dict(_NOTIFICATION))
        self._watch_number = self._line.begin("await_activation", known=self._mark)

    def _begin_load(self, load: _Load) -> None:
        with load.package:
            try:
                load.package.seek(0)
                self._load_number = self._line.begin_load(
                    load.package,
                    group=load.group,
                    version=_version(load.group, load.path),
                    path=load.path,
                    definition=self._definitions[load.group],
                    by="%s (Director actor)" % getpass.getuser(),
                    no_wait=False,
                    upwards_only=False,
                )
            except OSError as error:
                _log.error("`%s` cannot be read any more: %s", load.path, error)
                return
        self._loading = load

    def _loaded(self, load: _Load, told: control.Document) -> None:
        if told.get("answer") != "loaded":
            _log.error('"%s" was not loaded from `%s`: %s', load.group, load.path, _reason(told))
        elif told["hash"] != load.hash:
            _log.warning("`%s` was written while it was loaded: %s", load.path, told["hash"])
        else:
            _log.info('Loaded "%s" %s: %s', load.group, load.path, load.hash)

    # Requesters

    def _check_rights(self) -> None:
        """Raises _Refused for whom may not have code run on this node."""
        header = self._myRef.header
        own = (wire.NO_SOURCE, self._myRef.incarnation)
        if header is None or header[wire.FLAGS] & wire.FOREIGN:
            raise _Refused("only programs of the node's own user may do this")
        if (header[wire.SOURCE], header[wire.INCARNATION]) != own:
            raise _Refused(
                "actors of loaded sources and other hosts may not do this: send it from a program "
                "of the node's user, or use `director load`"
            )

    def _remember(self, requester: Any, now: bool = False) -> None:
        """Notes what a requester knows: the state of now, or that of his first message."""
        if now or requester not in self._told:
            self._told.pop(requester, None)
            self._told[requester] = self._mark
            if len(self._told) > REMEMBERED:
                self._told.pop(next(iter(self._told)))

    def _declared(self, message: Dict[Any, Any], path: str) -> str:
        """The group that a load is for."""
        if message.get("Group") is None:
            name = os.path.basename(path)
            like = [group for group in self._definitions if name.startswith(group)]
            if not like:
                raise _Refused("name the `Group` of `%s`: no declared one is called so" % path)
            return max(like, key=len)
        group = _group_of(message)
        if group not in self._definitions:
            raise _Refused("the group `%s` is not declared: send DefineGroup first" % group)
        return group


_OPERATIONS = {
    "DefineGroup": Director.DefineGroup,
    "LoadSource": Director.LoadSource,
    "RetrieveAll": Director.RetrieveAll,
    "RetrieveRole": Director.RetrieveRole,
    "RequestNotification": Director.RequestNotification,
}
_NOT_OF_TLI = ("DirectorOp", "Group")
_NOTIFICATION = {"DirectorResponse": "NotificationOfUpdate", "Success": True}


def role_address(match: control.Document, role: str) -> Answer:
    """The answer for a role that is played."""
    return {
        "DirectorResponse": "RoleAddress",
        "Success": True,
        "Group": match["group"],
        "SourceHash": match["source"],
        "ActorClass": match["class"],
        "Role": role,
        "ActorAddress": address.from_hex(match["actor"]),
        "RoleAddress": address.restore_role(match["group"], role),
        "StartTime": _moment(match.get("started")),
    }


def no_role(role: Any, group: Any) -> Answer:
    """The answer for a role that nobody plays."""
    return {
        "DirectorResponse": "RoleAddress",
        "ActorAddress": None,
        "Role": role,
        "SourceHash": None,
        "Group": group,
        "ActorClass": None,
        "Success": False,
    }


def _group(listed: control.Document) -> Answer:
    """What RetrieveAll tells of one group."""
    sources = [source for source in listed["sources"] if source["state"] != "loading"]
    sources.sort(key=lambda source: source["loaded"])
    active = [source["hash"] for source in sources if source["state"] == "active"]
    return {
        "ActiveHash": active[0] if active else None,
        "Loaded": [source["hash"] for source in sources],
        "Running": {
            source["hash"]: [_running(actor) for actor in source["actors"]] for source in sources
        },
    }


def _running(actor: control.Document) -> Answer:
    known = actor["actor"] if actor["state"] == "running" else None
    return {
        "ActorClass": actor["class"],
        "Role": actor["role"],
        "ActorAddress": address.from_hex(known) if known else None,
        "StartTime": _moment(actor["started"]),
    }


def _moment(stamp: Optional[int]) -> Optional[datetime]:
    return None if stamp is None else datetime.fromtimestamp(stamp / 1000)


def _open(group: str, path: str) -> _Load:
    """Reads a package once for its hash; raises _Refused."""
    digest = hashlib.sha256()
    try:
        package = open(path, "rb")
        for piece in iter(lambda: package.read(director_line.PIECE_BYTES), b""):
            digest.update(piece)
    except OSError as error:
        raise _Refused("`%s` cannot be read: %s" % (path, error.strerror)) from error
    return _Load(group, path, package, digest.hexdigest())


def _version(group: str, path: str) -> Optional[str]:
    """The version in a file's name, ``GROUP-VERSION.tls``."""
    name = os.path.basename(path)
    stem = name[:-4] if name.endswith(".tls") else name
    if not stem.startswith(group + "-"):
        return None
    return stem[len(group) + 1 :] or None


def _group_of(message: Dict[Any, Any]) -> str:
    group = message.get("Group")
    if not isinstance(group, str) or not group:
        raise _Refused("`Group` has to be the name of a group")
    return group


def _text_or_none(message: Dict[Any, Any], key: str) -> Optional[str]:
    value = message.get(key)
    if value is not None and not isinstance(value, str):
        raise _Refused("`%s` has to be a string" % key)
    return value


def _unknown(what: Any) -> Answer:
    return {
        "DirectorResponse": "UnknownOperation",
        "Success": False,
        "Error": "`DirectorOp` is one of %s, not %.100r" % (", ".join(_OPERATIONS), what),
    }


def _reason(told: control.Document) -> str:
    message = str(told.get("message") or told)
    return "%s (%s)" % (message, told["hint"]) if told.get("hint") else message
