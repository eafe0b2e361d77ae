"""``import_module`` by the name under which Thespian 4.0.1 has one for loaded sources."""

from importlib import import_module

__all__ = ["import_module"]
