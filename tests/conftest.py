"""What all tests start from."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs deaf to Ctrl-C, and their children inherit it: tests send
    # that signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What goes to a file or a pipe has no width; xdist gives its workers one, and readline sets it
# behind os.environ's back.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

# What code a user has run is remembered in the user's state folder: tests have one of their own.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="llmpolicy-state-")

settings.register_profile("laws", deadline=None)  # a law holds on a busy machine too
settings.load_profile("laws")


ALONE = "LLMPOLICY_TEST_ALONE"


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is marked ``alone`` runs in a process of its own, whatever its own process has
    done before.
    """
    if pyfuncitem.get_closest_marker("alone") is None or ALONE in os.environ:
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(
        command,
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, ALONE: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return True
