"""A small node in Python: enough of the real one to test forkservers, workers and clients.

One thread serves one Unix socket for all roles. It routes, gives credit, keeps the window and
reports dead letters; there is no registry, no packages, no limits.
"""

import collections
import hashlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time

from thespian.system import address, control, wire

PYTHON_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCARNATION = 7
WINDOW = 1 << 20


def tagged(number, op, fields):
    """A request as serde writes it: the tag first."""
    return wire.control_frame(wire.REQUEST, number, control.encode(dict({"op": op}, **fields)))


class Connection:
    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.role = None
        self.key = None
        self.pid = None
        self.read = bytearray()
        self.write = bytearray()
        self.outstanding = 0
        self.held = collections.deque()
        self.raw = bytearray()


class Actor:
    def __init__(self, key, parent, source):
        self.key, self.parent, self.source = key, parent, source
        self.connection = None
        self.started = False
        self.ended = False
        self.queue = collections.deque()
        self.creator = None
        self.name = None
        self.pid = None
        self.output = ""


class FakeNode:
    def __init__(self, folder, give_credit=True, environment=None, interpreter=None):
        self.path = os.path.join(str(folder), "node.sock")
        self.give_credit = give_credit
        self.environment = environment or {}
        self.interpreter = interpreter or sys.executable
        self.sources = {}
        self.actors = {}
        self.clients = {}
        self.names = {}
        self.asks = {}
        self.notices = []
        self.dead = []
        self.markers = []
        self.prepared = {}
        self.serial = 1000
        self.allotment = 1 << 32
        self.handler = None
        self.origins = {}
        self.expected = {}
        self.pending = {}
        self.number = 0
        self.roles = {}
        self.matches = []
        self.applications = []
        self.uploads = {}
        self.changed = threading.Condition()
        self.todo = collections.deque()
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.wake_r, self.wake_w = os.pipe()
        self.selector.register(self.wake_r, selectors.EVENT_READ, "wake")
        self.stopping = False
        self.root = None
        self.root_process = None
        self.thread = threading.Thread(target=self.loop, daemon=True)

    # Life

    def start(self, forkserver=True):
        # PR_SET_PDEATHSIG fires when the starting *thread* ends: this is the test's own.
        if forkserver:
            self.expected["root"] = lambda connection: setattr(self, "root", connection)
            with open(os.path.join(PYTHON_FOLDER, "thespian/system/bootstrap.py")) as file:
                text = file.read()
            environment = dict(os.environ, **self.environment)
            environment.pop("PYTHONPATH", None)
            self.root_process = subprocess.Popen(
                [self.interpreter, "-I", "-S", "-c", text, self.path, "root", PYTHON_FOLDER],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self.thread.start()
        if forkserver:
            self.until(lambda: self.root is not None)
        return self

    def stop(self):
        self.call(lambda: setattr(self, "stopping", True))
        self.thread.join(10)
        for key in list(self.selector.get_map().values()):
            if isinstance(key.data, Connection):
                key.data.sock.close()
        self.listener.close()
        if self.root_process is not None:
            self.root_process.wait(10)
        os.close(self.wake_r)
        os.close(self.wake_w)

    def until(self, condition, seconds=20):
        limit = time.monotonic() + seconds
        with self.changed:
            while not condition():
                assert time.monotonic() < limit, "the condition did not come true"
                self.changed.wait(0.5)

    def call(self, function):
        self.todo.append(function)
        os.write(self.wake_w, b".")

    def loop(self):
        while not self.stopping:
            for key, events in self.selector.select():
                if key.data is None:
                    sock, _ = self.listener.accept()
                    connection = Connection(sock)
                    self.selector.register(sock, selectors.EVENT_READ, connection)
                elif key.data == "wake":
                    os.read(self.wake_r, 4096)
                else:
                    if events & selectors.EVENT_WRITE:
                        self.flush(key.data)
                    if events & selectors.EVENT_READ:
                        self.readable(key.data)
            while self.todo:
                self.todo.popleft()()
            with self.changed:
                self.changed.notify_all()

    # Bytes

    def readable(self, connection):
        try:
            data = connection.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.selector.unregister(connection.sock)
            connection.sock.close()
            self.disconnected(connection)
            return
        if connection.role == "stdio":
            actor = self.actors[connection.key]
            actor.output += data.decode(errors="replace")
            return
        connection.read += data
        start = 0
        while len(connection.read) - start >= wire.HEADER_BYTES:
            header = wire.HEADER.unpack_from(connection.read, start)
            size = wire.check(header)
            if len(connection.read) - start < size:
                break
            frame = bytes(connection.read[start : start + size])
            start += size
            self.frame(connection, header, frame)
            if connection.role == "stdio":
                self.actors[connection.key].output += connection.read[start:].decode()
                connection.read.clear()
                return
        del connection.read[:start]

    def put(self, connection, frame):
        connection.write += frame
        self.flush(connection)

    def flush(self, connection):
        try:
            sent = connection.sock.send(connection.write) if connection.write else 0
            del connection.write[:sent]
        except BlockingIOError:
            pass
        except OSError:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.write else 0)
        try:
            self.selector.modify(connection.sock, events, connection)
        except (KeyError, ValueError):
            return

    # Frames

    def frame(self, connection, header, frame):
        kind, payload = header[wire.KIND], frame[wire.HEADER_BYTES :]
        if kind == wire.HELLO:
            self.hello(connection, json.loads(payload))
        elif kind == wire.MESSAGE_KIND:
            assert header[wire.SENDER] == connection.key
            self.message(connection, header, frame)
        elif kind == wire.WINDOW_KIND:
            connection.outstanding -= wire.WINDOW.unpack(payload)[0]
            assert connection.outstanding >= 0
            while connection.held and connection.outstanding < WINDOW:
                self.forward(connection, connection.held.popleft())
        elif kind == wire.REQUEST:
            self.request(connection, header[wire.SEQUENCE], json.loads(payload))
        elif kind == wire.RESPONSE:
            self.pending.pop((connection, header[wire.SEQUENCE]))(json.loads(payload))
        elif kind == wire.NOTICE:
            self.notice(connection, json.loads(payload))
        elif kind == wire.UPLOAD:
            place = connection.key, header[wire.SEQUENCE]
            self.uploads[place] = self.uploads.get(place, b"") + bytes(payload)
        elif kind == wire.MARKER:
            self.markers.append((connection.key, header[wire.SEQUENCE]))

    # What it speaks, and with what it refuses clients.
    protocol = wire.PROTOCOL_VERSION
    refusal = None

    def hello(self, connection, hello):
        if hello["role"] == "client" and self.refusal:
            failed = control.encode(dict(self.refusal, answer="failed"))
            self.put(connection, wire.control_frame(wire.RESPONSE, 0, failed))
            return
        connection.role, connection.pid = hello["role"], hello["pid"]
        if connection.role == "client":
            self.serial += 1
            connection.key = address.allot(INCARNATION, self.serial)._key
            self.clients[connection.key] = connection
        elif connection.role in ("worker", "stdio"):
            connection.key = self.expected[hello["token"]]
            if connection.role == "stdio":
                return
            self.actors[connection.key].connection = connection
        welcome = {
            "protocol": self.protocol,
            "address": connection.key.hex() if connection.key else "00" * 16,
            "incarnation": INCARNATION,
            "node": 1,
            "node_name": "fake",
            "capabilities": "{'Here': True}",
            "version": "0",
        }
        self.put(connection, wire.control_frame(wire.WELCOME, 0, control.encode(welcome)))
        if connection.role == "forkserver":
            self.expected.pop(hello["token"])(connection)

    def message(self, connection, header, frame):
        key = header[wire.TARGET]
        if header[wire.TARGET_KIND] == wire.ROLE:
            key = self.roles.get(key, key)
        if header[wire.FLAGS] & wire.ASK:
            self.asks[connection.key] = (key, header)
        if self.give_credit and not header[wire.FLAGS] & wire.SYSTEM:
            credit = wire.CREDIT.pack(header[wire.TARGET_KIND], header[wire.TARGET], 1, len(frame))
            self.put(connection, wire.control_frame(wire.CREDIT_KIND, 0, credit, wire.RAW))
        actor = self.actors.get(key)
        if key in self.clients:
            self.asks.pop(key, None)
            self.deliver(self.clients[key], frame)
        elif actor is None or actor.ended:
            self.dead_letter(key, header, frame)
        elif actor.started:
            self.deliver(actor.connection, frame)
        else:
            actor.queue.append(frame)

    def deliver(self, connection, frame):
        if connection.held or connection.outstanding >= WINDOW:
            connection.held.append(frame)
            return
        self.forward(connection, frame)

    def forward(self, connection, frame):
        connection.outstanding += len(frame)
        self.put(connection, frame)

    def dead_letter(self, key, header, frame):
        self.dead.append(header)
        self.end_asks(key, "dead_lettered")
        if self.handler is not None and not header[wire.FLAGS] & wire.RETURNED:
            told = {"system": "dead_envelope", "target": key.hex(), "role": False, "reason": "x"}
            self.wrap(self.handler, frame, told)

    def wrap(self, key, frame, told):
        header = wire.HEADER.unpack_from(frame)
        body = wire.envelope(control.encode(told), header, frame[wire.HEADER_BYTES :])
        self.system(key, wire.ENVELOPE_PAYLOAD, body, wire.SYSTEM | wire.RETURNED)

    def system(self, key, kind, payload, flags=wire.SYSTEM):
        sender = address.allot(INCARNATION, 1)._key
        prefix = wire.prefix(flags, kind, 0, sender, key, INCARNATION)
        size = wire.HEADER_BYTES - 4 + len(payload)
        frame = wire.MESSAGE.pack(size, prefix, 1, wire.NO_SOURCE, wire.NO_TRACE) + payload
        actor = self.actors.get(key)
        if key in self.clients:
            self.deliver(self.clients[key], frame)
        elif actor is not None and actor.started and not actor.ended:
            self.deliver(actor.connection, frame)

    def end_asks(self, key, outcome):
        for client, (target, header) in list(self.asks.items()):
            if target == key and client in self.clients:
                del self.asks[client]
                fields = {"outcome": outcome, "reason": "x", "target": key.hex()}
                sequence = header[wire.SEQUENCE]
                frame = control.notice("ask_ended", sequence=sequence, **fields)
                self.put(self.clients[client], frame)

    def notice(self, connection, document):
        self.notices.append(document)
        name = document["notice"]
        if name == "handle_dead_letters":
            self.handler = connection.key if document["on"] else None
        elif name == "started":
            actor = self.actors[connection.key]
            actor.started = True
            while actor.queue:
                self.deliver(connection, actor.queue.popleft())
            self.created(actor, {"answer": "created", "actor": actor.key.hex()})
        elif name == "start_failed":
            self.failed(self.actors[connection.key], document)

    def created(self, actor, answer):
        if actor.creator is not None:
            connection, sequence = actor.creator
            actor.creator = None
            if sequence:
                payload = control.encode(answer)
                self.put(connection, wire.control_frame(wire.RESPONSE, sequence, payload))

    def failed(self, actor, failure):
        answer = dict(failure, answer="failed", code="refused", failure=failure["code"])
        self.created(actor, answer)
        self.over(actor, aborted=True)

    def disconnected(self, connection):
        if connection.role == "client":
            del self.clients[connection.key]
        elif connection.role == "worker":
            self.over(self.actors[connection.key])

    def over(self, actor, aborted=False):
        if actor.ended:
            return
        actor.ended = True
        self.end_asks(actor.key, "unknown")
        self.names = {name: key for name, key in self.names.items() if key != actor.key}
        told = {"system": "child_actor_exited", "child": actor.key.hex()}
        self.system(actor.parent, wire.JSON, control.encode(told))
        for frame in actor.queue:
            header = wire.HEADER.unpack_from(frame)
            if aborted:
                told = {"system": "poison_message", "details": "Child Aborted"}
                self.wrap(header[wire.SENDER], frame, told)
            else:
                self.dead_letter(actor.key, header, frame)

    # Requests

    def request(self, connection, sequence, request):
        if request["op"] == "create_actor":
            self.create(connection, sequence, request)
        elif request["op"] == "resolve":
            answer = control.encode({"answer": "resolved", "matches": self.matches})
            self.put(connection, wire.control_frame(wire.RESPONSE, sequence, answer))
        elif request["op"] in ("shutdown", "await_exits"):
            answer = control.encode({"answer": "done", "text": ""})
            self.put(connection, wire.control_frame(wire.RESPONSE, sequence, answer))
            self.stopping = request["op"] == "shutdown"
        elif request["op"] == "application":
            self.applications.append(request)
            answer = {"answer": "done", "text": ""}
            if request["ask"] == "load_source":
                uploaded = self.uploads.pop((connection.key, sequence))
                answer = {"answer": "source_taken", "hash": hashlib.sha256(uploaded).hexdigest()}
            if sequence:
                frame = wire.control_frame(wire.RESPONSE, sequence, control.encode(answer))
                self.put(connection, frame)

    def create(self, connection, sequence, request):
        name = request["global_name"]
        if name is not None and name in self.names:
            answer = {"answer": "created", "actor": self.names[name].hex()}
            frame = wire.control_frame(wire.RESPONSE, sequence, control.encode(answer))
            self.put(connection, frame)
            return
        creator = self.actors.get(connection.key)
        if request["client"] is not None:
            origin = {"client": request["client"]}
        elif request["source"] is not None:
            origin = {"source": request["source"]}
        elif creator is not None and "source" in creator.source:
            origin = creator.source
        else:
            origin = {"source": min(self.sources)}
        self.serial += 1
        allotted = request["actor"] or address.allot(INCARNATION, self.serial)._key.hex()
        parent = connection.key if creator is not None else wire.NOBODY
        actor = Actor(bytes.fromhex(allotted), parent, origin)
        actor.creator = (connection, sequence)
        self.actors[actor.key] = actor
        if name is not None:
            self.names[name] = actor.key
        self.allotment += 1 << 32
        spec = {
            "token": allotted,
            "actor": allotted,
            "origin": origin,
            "class": request["class"],
            "parent": actor.parent.hex(),
            "global_name": name,
            "requirements": request["requirements"],
            "capabilities": "{'Here': True, 'Python Version': (3, 11, 0)}",
            "incarnation": INCARNATION,
            "allotment": self.allotment,
            "environment": [],
            "user": None,
        }
        self.expected[allotted] = actor.key
        self.with_origin(origin, lambda server: self.to_server(server, "spawn", spec, None))

    def with_origin(self, origin, function):
        name = json.dumps(origin, sort_keys=True)
        server = self.origins.get(name)
        if isinstance(server, Connection):
            function(server)
            return
        waiting = self.origins.setdefault(name, [])
        waiting.append(function)
        if len(waiting) > 1:
            return

        def connected(connection):
            functions, self.origins[name] = self.origins[name], connection
            for waiter in functions:
                waiter(connection)

        self.number += 1
        token = "origin-%d" % self.number
        self.expected[token] = connected
        path = [self.sources[origin["source"]]] if "source" in origin else []
        self.to_server(self.root, "fork", {"token": token, "origin": origin, "path": path}, None)

    def to_server(self, server, op, fields, on_answer):
        self.number += 1
        self.pending[(server, self.number)] = on_answer or (lambda _answer: None)
        self.put(server, tagged(self.number, op, fields))

    # For tests

    def prepare(self, source, classes, sets=(), requirements=None, preload=True):
        """Prepares a source's forkserver and returns its answer."""
        answers = []
        fields = {
            "classes": list(classes),
            "capability_sets": [repr(item) for item in sets],
            "requirements": requirements or [None] * len(classes),
            "preload": preload,
        }
        self.call(
            lambda: self.with_origin(
                {"source": source},
                lambda server: self.to_server(server, "prepare", fields, answers.append),
            )
        )
        self.until(lambda: answers)
        return answers[0]
