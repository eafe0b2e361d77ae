"""The Python side of Director: what actor code and client programs import."""

__version__ = "0.1.0"

from thespian.system import shadow as _shadow

_shadow.warn(list(__path__))
