"""``ActorSystem``: what an external program uses to create actors and to talk to them.

Every ``multiproc*`` base means Director; ``simpleSystemBase`` is in this process (``simple``).
Not here: the connection (``endpoint``).
"""

import logging.config
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Dict, Iterator, Optional, Union

from thespian.system import (
    address,
    capable,
    control,
    endpoint,
    locate,
    main_module,
    naming,
    program,
    sourcefile,
)
from thespian.system.errors import (
    ActorStartFailure,
    ActorSystemException,
    ActorSystemFailure,
    InvalidActorSourceHash,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
)
from thespian.system.runtime import class_name

SIMPLE_BASE = "simpleSystemBase"
CREATE_LIMIT_S = 50.0
SHUTDOWN_LIMIT_S = 10.0
UPDATE_LIMIT_S = 5.0
LOAD_LIMIT_S = 61.0
Period = Union[None, int, float, timedelta]


class _Core:
    """A node, as all ``ActorSystem`` objects for it share it."""

    # What `ActorSystem()` means in this program: a node or a simple system.
    current: Any = None

    def __init__(self, port: int, capabilities: Dict[str, Any]) -> None:
        self.port = port
        self.endpoint = endpoint.Endpoint(port, capabilities=capabilities)
        self.capabilities = dict(self.endpoint.capabilities(), **capabilities)

    def new_endpoint(self) -> endpoint.Endpoint:
        """A connection of its own, for one thread."""
        return endpoint.Endpoint(self.port, start=False)

    def create(self, through: Any, spec: Any, requirements: Any, name: Any, source: Any) -> Any:
        """Creates a top-level actor, or raises."""
        class_text = class_name(spec)
        if source is not None and not naming.is_source_hash(source):
            raise InvalidActorSourceHash(source)
        own = source is None and (isinstance(spec, type) or naming.importable(class_text))
        answer = through.request(
            CREATE_LIMIT_S,
            "create_actor",
            **{
                "actor": None,
                "class": class_text,
                "source": source,
                "client": program.environment() if own else None,
                "requirements": capable.to_literal(requirements),
                "global_name": name,
            },
        )
        if answer.get("answer") != "created":
            raise _creation_error(answer, spec, source)
        return address.from_hex(answer["actor"])

    def update_capability(self, through: Any, name: str, value: Any) -> None:
        """Sets or removes a capability of the node."""
        fields = {"name": capable.to_literal(name), "value": capable.to_literal(value)}
        _done(through.request(UPDATE_LIMIT_S, "application", ask="update_capability", **fields))
        if value is None:
            self.capabilities.pop(name, None)
        else:
            self.capabilities[name] = value

    def load_source(self, through: Any, source: Any) -> str:
        """Loads a source; its hash, before it is validated."""
        data, info = sourcefile.read(source)
        answer = through.upload(LOAD_LIMIT_S, data, "application", ask="load_source", info=info)
        return str(_done(answer)["hash"])

    def unload_source(self, through: Any, source_hash: Any) -> None:
        """Unloads a source; an unknown hash is ignored."""
        if naming.is_source_hash(source_hash):
            fields = {"ask": "unload_source", "hash": source_hash}
            _done(through.request(LOAD_LIMIT_S, "application", **fields))

    def shut_down(self, seconds: float) -> None:
        """Stops the node and waits until it has gone."""
        limit = time.monotonic() + seconds
        self.endpoint.shut_down(seconds)
        locate.await_end(self.port, limit - time.monotonic())


class ActorSystem:
    """The local node; it is started if it does not run."""

    def __init__(
        self,
        systemBase: Optional[str] = None,
        capabilities: Optional[Dict[str, Any]] = None,
        logDefs: Any = None,
        transientUnique: bool = False,
    ) -> None:
        if main_module.importing:
            raise ActorSystemException(
                "the program's top level runs a second time because one of its classes is an "
                "actor: put what starts it under `if __name__ == '__main__':`"
            )
        _take_log_definitions(logDefs)
        self._core = _find_core(systemBase, dict(capabilities or {}), transientUnique)
        self._private: Any = None
        if logDefs and not isinstance(self._core, _Core):
            logging.config.dictConfig(logDefs)

    @property
    def capabilities(self) -> Dict[str, Any]:
        """The system's capabilities, with those given to this program's constructor call."""
        return self._core.capabilities

    def _endpoint(self) -> endpoint.Endpoint:
        if self._core is None:
            raise AttributeError("this ActorSystem has been shut down")
        return self._private or self._core.endpoint

    def createActor(
        self,
        actorClass: Any,
        targetActorRequirements: Optional[Dict[str, Any]] = None,
        globalName: Optional[str] = None,
        sourceHash: Optional[str] = None,
    ) -> address.ActorAddress:
        """Starts a top-level actor and returns its address once it stands."""
        through = self._endpoint()
        return self._core.create(
            through, actorClass, targetActorRequirements, globalName, sourceHash
        )

    def tell(self, actorAddr: address.ActorAddress, msg: Any) -> None:
        """Sends a message."""
        self._endpoint().tell(_checked(actorAddr, "tell"), msg)

    def ask(self, actorAddr: address.ActorAddress, msg: Any, timeout: Period = None) -> Any:
        """Sends a message and returns the next one that comes, from anyone, or None."""
        return self._endpoint().ask(_checked(actorAddr, "ask"), msg, _seconds(timeout))

    def listen(self, timeout: Period = None) -> Any:
        """The next message that comes, or None."""
        return self._endpoint().listen(_seconds(timeout))

    @contextmanager
    def private(self) -> Iterator["ActorSystem"]:
        """A context with an endpoint of its own, for one thread."""
        self._endpoint()
        inner: Any = object.__new__(ActorSystem)
        inner._core = self._core
        inner._private = self._core.new_endpoint()
        try:
            yield inner
        finally:
            inner._private.close()

    def shutdown(self) -> None:
        """Stops the node and all its actors."""
        if self._core is None:
            return
        self._core.shut_down(SHUTDOWN_LIMIT_S)
        if _Core.current is self._core:
            _Core.current = None
        self._core = None  # type: ignore[assignment]

    def loadActorSource(self, fname: Any) -> str:
        """Loads a source from a path or file object; returns its hash, before it is validated."""
        through = self._endpoint()
        return self._core.load_source(through, fname)

    loadSource = loadActorSource

    def unloadActorSource(self, sourceHash: str) -> None:
        """Unloads a source; its actors go on."""
        through = self._endpoint()
        self._core.unload_source(through, sourceHash)

    def updateCapability(self, capabilityName: str, capabilityValue: Any = None) -> None:
        """Sets a capability of the system; None removes it."""
        through = self._endpoint()
        self._core.update_capability(through, capabilityName, capabilityValue)

    def systemUpdate(self, updateType: str, *updateArgs: Any, **updateKWArgs: Any) -> None:
        """Nothing: the back door of the original has no methods here."""
        return None


def _find_core(base: Any, given: Dict[str, Any], unique: bool) -> Any:
    """The shared system of this program, or a new one."""
    shared = None if unique else _Core.current
    port = int(given.get("Admin Port", locate.DEFAULT_PORT))
    if base is None:
        if shared is not None and given.get("Admin Port", shared.port) == shared.port:
            return shared
        if "Admin Port" not in given:
            port = locate.usual_port()
        base = _default_base(given, port)
    base = str(base)
    if base == SIMPLE_BASE:
        # Here, because forkservers import this file as well and need none.
        from thespian.system import simple

        if isinstance(shared, simple.SimpleSystem):
            return shared
        found: Any = simple.SimpleSystem(given)
    elif base.startswith("multiproc"):
        if isinstance(shared, _Core) and ("Admin Port" not in given or shared.port == port):
            return shared
        found = _Core(port, given)
    else:
        raise ImportError(
            "`%s` is no system base here: use `multiprocTCPBase` or `%s`" % (base, SIMPLE_BASE)
        )
    if not unique:
        _Core.current = found
    return found


def _take_log_definitions(definitions: Any) -> None:
    """Keeps what a node that is started from now on logs by."""
    if definitions is not None:
        # Here, because forkservers import this file as well and start no node.
        from thespian.system import log_definitions

        log_definitions.given = definitions


def _default_base(given: Dict[str, Any], port: int) -> str:
    """A node where there is one, or is to be one; else the original's default."""
    if "Admin Port" in given or locate.expects_node(port):
        return "multiprocTCPBase"
    return SIMPLE_BASE


def _done(answer: control.Document) -> control.Document:
    """The answer, unless it is that nothing was done."""
    if answer.get("answer") == "failed":
        hint = answer.get("hint")
        message = str(answer.get("message") or "the node refused it")
        raise ActorSystemFailure("%s (%s)" % (message, hint) if hint else message)
    return answer


def _seconds(period: Period) -> Optional[float]:
    if period is None:
        return None
    return period.total_seconds() if isinstance(period, timedelta) else float(period)


def _checked(target: Any, operation: str) -> address.ActorAddress:
    if not isinstance(target, address.ActorAddress):
        raise ValueError("Actor `%s' address is not a valid ActorAddress: %s" % (operation, target))
    return target


def _creation_error(answer: control.Document, spec: Any, source_hash: Any) -> Exception:
    """The exception for a failed creation."""
    message = str(answer.get("message") or "the actor could not be created")
    trace = answer.get("traceback")
    code = answer.get("failure")
    if code == "import_error":
        return ImportError("%s\n%s" % (message, trace) if trace else message)
    if code == "invalid_specification":
        return InvalidActorSpecification(spec, message)
    if code == "invalid_source_hash":
        return InvalidActorSourceHash(source_hash)
    if code == "no_compatible_system":
        return NoCompatibleSystemForActor(spec, "No compatible ActorSystem: %s" % message)
    if code == "constructor_failed":
        return ActorStartFailure(message, trace)
    hint = answer.get("hint")
    return ActorSystemFailure("%s (%s)" % (message, hint) if hint else message)
