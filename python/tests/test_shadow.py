"""An original Thespian beside ours is told of at the import."""

import os
import subprocess
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def imported(folder):
    """What an import of ours says when this folder is on the path behind it."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join((PACKAGE, str(folder))))
    done = subprocess.run(
        [sys.executable, "-c", "import thespian.actors"],
        env=environment,
        capture_output=True,
        check=True,
    )
    return done.stderr.decode()


def test_the_original_behind_ours_is_warned_of_with_the_next_step(tmp_path):
    assert imported(tmp_path) == ""
    (tmp_path / "thespian" / "system").mkdir(parents=True)
    (tmp_path / "thespian" / "system" / "multiprocTCPBase.py").touch()
    told = imported(tmp_path)
    assert "`%s`" % (tmp_path / "thespian") in told
    assert "-m pip uninstall thespian" in told and "RuntimeWarning" in told
