"""The Director directory of a side, its packages, and the commands run in it."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from figures import DIRECTOR

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
START_LIMIT_S = 30.0


class CommandFailed(Exception):
    """A command of a side ended with an exit code that is no success."""


@dataclass
class Run:
    """One command, run to its end."""

    seconds: float
    code: int
    output: str
    peak_mib: float


class Place:
    """Keys, packages and settings of one side in a temporary folder."""

    def __init__(self, side: str, folder: Path, command: List[str], python: Path) -> None:
        self.side, self.command, self.python = side, command, python
        self.folder = folder / side
        self.folder.mkdir(parents=True)
        self.port = _free_port()
        self._versions = 0
        self.set(adminport=str(self.port), thesplogd=str(self.folder))

    def environment(self) -> Dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("THESP", "DIRECTOR_"))}
        paths = [str(HERE / "application")]
        if self.side == DIRECTOR:
            paths.insert(0, str(CHECKOUT / "python"))
            kept["DIRECTOR_BIN"] = self.command[0]
        return dict(
            kept,
            PYTHONPATH=os.pathsep.join(paths),
            THESPIAN_DIRECTOR_DIR=str(self.folder),
            THESPLOG_FILE=str(self.folder / "thespian.log"),
            THESPIAN_BASE_IPADDR="127.0.0.1",
            TMPDIR=str(self.folder),
        )

    def run(self, *words: str, good: Optional[int] = 0) -> Run:
        """Runs a command of the side's `director`."""
        started = time.perf_counter()
        with open(self.folder / "errors.txt", "w") as errors, open(
            self.folder / "output.txt", "w+"
        ) as output:
            child = subprocess.Popen(
                [*self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=self.environment(),
                cwd=self.folder,
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - started
            child.returncode = code = os.waitstatus_to_exitcode(status)
            output.seek(0)
            told = output.read()
        if good is not None and code != good:
            trouble = (self.folder / "errors.txt").read_text()[-600:]
            raise CommandFailed("%s: `%s` gave %d: %s" % (self.side, words, code, trouble + told))
        return Run(seconds, code, told, usage.ru_maxrss / 1024)

    def set(self, **settings: str) -> None:
        """Writes a file `NAME.cfg` for each."""
        for name, text in settings.items():
            (self.folder / (name + ".cfg")).write_text(text)

    def package(
        self, group: str = "bench", payload_bytes: int = 0, tli: str = "bench.tli", **words: str
    ) -> Path:
        """A package of the application with a new version, and random bytes in it."""
        self._versions += 1
        tli = (HERE / "application" / tli).read_text()
        (self.folder / (group + ".tli")).write_text(tli)
        sources = self.sources(self._versions, payload_bytes)
        self.pack(group, sources, str(self._versions), "benchapp/*", **words)
        return self.folder / ("%s-%d.tls" % (group, self._versions))

    def version(self) -> str:
        """The version of the package made last."""
        return str(self._versions)

    def sources(self, version: int, payload_bytes: int = 0) -> Path:
        """The application's sources as this version, with an incompressible file."""
        root = self.folder / "sources"
        target = root / "benchapp"
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted((HERE / "application" / "benchapp").glob("*.py")):
            text = path.read_text().replace('VERSION = "1"', 'VERSION = "%d"' % version)
            (target / path.name).write_text(text)
        # Thespian's gensrc imports whatever it packs, by the name without suffix: this one exists.
        payload = target / "actors.bin"
        payload.unlink(missing_ok=True)
        if payload_bytes:
            _write_noise(payload, payload_bytes, version)
        return root

    def pack(self, group: str, sources: Path, version: str, *patterns: str, **words: str) -> Run:
        """Runs gensrc."""
        self.make_key()
        settings = ["%s:%s" % item for item in words.items()]
        names = [group, str(self.folder / "src.pem"), str(sources), "version:" + version]
        return self.run("gensrc", *names, *settings, *patterns)

    @property
    def public_key(self) -> Path:
        """The key that packages of this place are verified with."""
        return self.folder / "src_tls.key"

    def make_key(self) -> None:
        """Makes the pair that signs and verifies, once."""
        key, public = self.folder / "src.pem", self.public_key
        if key.exists():
            return
        for words in (
            ["genrsa", "-out", str(key), "2048"],
            ["rsa", "-in", str(key), "-pubout", "-out", str(public)],
        ):
            subprocess.run(["openssl", *words], check=True, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        """Starts the node and waits until it lists."""
        self.run("start")
        limit = time.monotonic() + START_LIMIT_S
        while self.run("list", good=None).code != 0:
            if time.monotonic() > limit:
                raise CommandFailed("%s does not list" % self.side)

    def stop(self) -> None:
        with contextlib.suppress(CommandFailed):
            self.run("shutdown")


def _write_noise(path: Path, size: int, seed: int) -> None:
    """Random bytes without the marker that Thespian's gensrc takes for the archive's end."""
    generator = random.Random(seed)
    with open(path, "wb") as file:
        while size:
            piece = generator.randbytes(min(size, 1 << 20)).replace(b"PK\5\6", b"PK\5\7")
            file.write(piece)
            size -= len(piece)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def director_command(binary: Optional[str]) -> List[str]:
    """The release binary of this checkout, unless another is named."""
    program = Path(binary) if binary else CHECKOUT / "target" / "release" / "director"
    if not program.is_file():
        sys.exit(
            "`%s` does not exist: run `cargo build --release -p cli --bin director`, or name the "
            "program with --director" % program
        )
    return [str(program.resolve())]
