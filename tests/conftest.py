"""What all tests start from."""

import os
import signal

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs deaf to Ctrl-C, and their children inherit it: tests send that signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("COLUMNS", None)  # xdist gives its workers one, and what goes to a file or a pipe has no width

settings.register_profile("laws", deadline=None)  # a law holds on a busy machine too
settings.load_profile("laws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that let memory run out come last: oneDNN goes on failing where it once could not get what it asked for."""
    items.sort(key=lambda item: "test_out_of_memory" in item.nodeid)
