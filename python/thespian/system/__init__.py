"""Internals of ``thespian``: the wire, workers, forkservers and clients.

Nothing here is an interface for applications; they import ``thespian.actors``.
"""
