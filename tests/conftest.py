"""What all tests start from."""

import signal

from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs deaf to Ctrl-C, and their children inherit it: tests send that signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("laws", deadline=None)  # a law holds on a busy machine too
settings.load_profile("laws")
