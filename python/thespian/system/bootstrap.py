"""Text that the node gives to ``python -I -S -c`` to start a root forkserver.

Arguments: the node's worker socket, the token, the folder that holds ``thespian``, and the node's
process id (optional: the parent of this process).
"""

import sys

sys.path.insert(0, sys.argv[3])
from thespian.system import forkserver

forkserver.main(*sys.argv[1:5])
