"""What applications and logging configurations import from ``thespian.director``."""

import logging


class ActorAddressLogFilter(logging.Filter):
    """Gives every record an ``actorAddress``; it is empty outside of actors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        if not hasattr(record, "actorAddress"):
            record.actorAddress = ""
        return True
