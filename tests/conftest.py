"""What all tests start from."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def settings_are_left_as_they_were() -> Iterator[None]:
    """No test changes how the package works in those after it."""
    before = _settings()
    yield
    assert _settings() == before, "a test left one of LLMPOLICY_'s variables changed"


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("LLMPOLICY_")}


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
