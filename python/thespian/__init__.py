"""The Python side of Director: what actor code and client programs import."""

__version__ = "0.1.0"
