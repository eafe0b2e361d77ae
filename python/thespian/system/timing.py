"""Periods and timers that applications of the original import.

Nothing here is used by Director itself.
"""

import time
from datetime import timedelta
from typing import Any, Optional, Union

Period = Union[None, int, float, timedelta]
# Points in time this near to each other are the same.
time_equivalence = timedelta(microseconds=10)
currentTime = time.perf_counter


def timePeriodSeconds(basis: Any) -> float:
    """The seconds of a timedelta or a number; raises TypeError for anything else."""
    if isinstance(basis, timedelta):
        return basis.total_seconds()
    if isinstance(basis, (int, float)):
        return basis
    raise TypeError("a period is a timedelta or a number of seconds, not `%s`" % type(basis))


def toTimeDeltaOrNone(timespec: Period) -> Optional[timedelta]:
    """The timedelta of a period; None stays None."""
    if timespec is None or isinstance(timespec, timedelta):
        return timespec
    return timedelta(seconds=timePeriodSeconds(timespec))


class ExpirationTimer:
    """Runs out after a period; with None, never.

    Two timers are equal if they run out at the same time, or both have.
    """

    def __init__(self, duration: Period = None) -> None:
        seconds = None if duration is None else timePeriodSeconds(duration)
        self.duration = toTimeDeltaOrNone(duration)
        self._end = None if seconds is None else currentTime() + seconds

    def view(self, curtime: Optional[float] = None) -> "ExpirationTimerView":
        """The timer at one moment: now, unless one is given."""
        return ExpirationTimerView(self, currentTime() if curtime is None else curtime)

    def __enter__(self) -> "ExpirationTimerView":
        return self.view()

    def __exit__(self, _kind: Any, _error: Any, _trace: Any) -> None:
        return None

    def _left(self, now: float) -> float:
        return float("inf") if self._end is None else max(0.0, self._end - now)

    def _compare(self, other: Any) -> int:
        """-1, 0 or 1: which one runs out first."""
        now = currentTime()
        ours, theirs = self._left(now), other._left(now)
        if ours == theirs or abs(ours - theirs) <= time_equivalence.total_seconds():
            return 0
        return -1 if ours < theirs else 1

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ExpirationTimer) and self._compare(other) == 0

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: "ExpirationTimer") -> bool:
        return self._compare(other) < 0

    def __gt__(self, other: "ExpirationTimer") -> bool:
        return self._compare(other) > 0

    def __le__(self, other: "ExpirationTimer") -> bool:
        return self._compare(other) <= 0

    def __ge__(self, other: "ExpirationTimer") -> bool:
        return self._compare(other) >= 0

    def __bool__(self) -> bool:
        return self.view().expired()

    def __str__(self) -> str:
        left = self._left(currentTime())
        if left == float("inf"):
            return "Forever"
        return "Expires_in_%s" % timedelta(seconds=left) if left else "Expired"


class ExpirationTimerView(ExpirationTimer):
    """A timer as it was at one moment."""

    def __init__(self, timer: ExpirationTimer, now: float) -> None:
        self.duration = timer.duration
        self._end = timer._end
        self._now = now

    def view(self, curtime: Optional[float] = None) -> "ExpirationTimerView":
        """Itself: a view stays at its moment."""
        return self

    def expired(self) -> bool:
        """Whether the timer had run out."""
        return self._left(self._now) == 0.0

    def remaining(self, forever: Any = None) -> Any:
        """What was left as a timedelta; ``forever`` if it never runs out."""
        return forever if self._end is None else timedelta(seconds=self._left(self._now))

    def remainingSeconds(self, forever: Any = None) -> Any:
        """What was left in seconds; ``forever`` if it never runs out."""
        return forever if self._end is None else self._left(self._now)


class Timer:
    """Measures the time since it was made or reset."""

    def __init__(self) -> None:
        self._start = currentTime()

    def reset(self) -> None:
        """Starts again."""
        self._start = currentTime()

    def view(self, curtime: Optional[float] = None) -> "TimerView":
        """The timer at one moment: now, unless one is given."""
        return TimerView((currentTime() if curtime is None else curtime) - self._start)


class TimerView:
    """A timer as it was at one moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def elapsed(self) -> timedelta:
        """The time that had passed."""
        return timedelta(seconds=self._seconds)

    def elapsed_seconds(self) -> float:
        """The seconds that had passed."""
        return self._seconds

    def __str__(self) -> str:
        return str(self.elapsed())


def unexpired(timer: ExpirationTimer) -> Any:
    """Yields views of a timer until it has run out."""
    while True:
        view = timer.view()
        if view.expired():
            return
        yield view
