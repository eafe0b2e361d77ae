"""Thespian from PyPI in a virtual environment of its own, made once in a cache folder."""

import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "4.0.1"
# That release validates no package on Python 3.9 and later without it.
_SHIM = "import base64\n\nbase64.decodestring = base64.decodebytes\n"


def python() -> Path:
    """The interpreter that imports Thespian."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "director-bench"
    tag = "%d.%d" % sys.version_info[:2]
    place = cache / ("thespian-%s-python-%s" % (VERSION, tag))
    interpreter, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        print("making %s" % place, file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        wanted = ["thespian==%s" % VERSION, "setproctitle"]
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *wanted], check=True)
        packages = place / "lib" / ("python" + tag) / "site-packages"
        (packages / "sitecustomize.py").write_text(_SHIM)
        ready.touch()
    return interpreter
