"""Whether the original Thespian lies in the way: both packages are called ``thespian``.

Not here: the case in which the original is found first, and this file never read;
``director doctor`` tells of it.
"""

import os
import sys
import warnings
from typing import List, Optional

# Files that only the original has.
_THEIRS = os.path.join("system", "multiprocTCPBase.py")


def original(package_path: List[str], search_path: List[str]) -> Optional[str]:
    """The folder of an original ``thespian``: mixed with ours, or further back on the path."""
    places = list(package_path)
    places += [os.path.join(entry or ".", "thespian") for entry in search_path]
    for place in places:
        if os.path.exists(os.path.join(place, _THEIRS)):
            return place
    return None


def warn(package_path: List[str]) -> None:
    """Says so, once, when there is one."""
    place = original(package_path, sys.path)
    if place is None:
        return
    mixed = any(os.path.realpath(place) == os.path.realpath(own) for own in package_path)
    how = (
        "its files are mixed with Director's" if mixed else "programs may get the one or the other"
    )
    warnings.warn(
        "the original Thespian is installed as well, in `%s`: %s. Uninstall it (`%s -m pip "
        "uninstall thespian`)%s"
        % (place, how, sys.executable, ", then install Director's module again" if mixed else ""),
        RuntimeWarning,
        stacklevel=3,
    )
