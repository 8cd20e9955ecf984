"""A page that follows a run: served on this machine alone, made anew while the run goes on."""

import json
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llmpolicy.errors import LLMPolicyError, RunError
from llmpolicy.report.page import page_of

HOST = "127.0.0.1"
SHARE = 0.05
"""The most of a core that making pages may take while a run goes on."""
LEAST = 3.0
"""Seconds between two looks at a run, at least."""
PATIENCE = 30.0
"""Seconds that a client may leave a connection without a sign."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Live:
    """The page of a run as it is now, made again when the run went on, but not too often."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._lock = threading.Lock()
        self._state, self._page, self._next = "", b"", 0.0
        self.page()

    def state(self) -> str:
        """What the run has written, in short; what it was at the last look if that was just
        now.
        """
        return state_of(self.folder) if self.clock() >= self._next else self._state

    def page(self) -> bytes:
        """The page; RunError where there is nothing to show."""
        with self._lock:
            state = self.state()
            if state != self._state:
                began = self.clock()
                self._page = page_of(self.folder, live=state).encode()
                now = self.clock()
                self._state, self._next = state, now + max((now - began) / SHARE, LEAST)
            return self._page


def state_of(folder: Path) -> str:
    """A short word for what a run has written: another one when it wrote more."""
    names = ("metrics.jsonl", "manifest.json", "evaluation.json", "faults.jsonl")
    files = [*(folder / name for name in names), *folder.glob("trainer_state.json")]
    facts = []
    for file in files:
        if file.is_file():
            found = file.stat()
            facts.append((file.name, found.st_size, found.st_mtime_ns))
    facts.append(("rollouts", sum(1 for _ in folder.glob("rollouts/*.parquet")), 0))
    return sha256(repr(facts).encode()).hexdigest()[:16]


def serve(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """Show a run until Ctrl-C; RunError where there is none, or the port is taken."""
    live = Live(folder)
    try:
        server = server_of(live, port)
    except OSError as error:
        raise RunError(
            f"port {port} cannot be taken ({error.strerror}); --port 0 finds one"
        ) from None
    with server:
        say(f"http://{HOST}:{server.server_address[1]}/ shows {folder}; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.2)


def server_of(live: Live, port: int) -> ThreadingHTTPServer:
    """A server for this machine's own browsers; it is not begun."""

    class Handler(_Handler):
        pages = live

    return _Server((HOST, port), Handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away: a closed tab is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    pages: Live
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer for the page and its state; nothing else is here."""
        # A page of another site could have its own name point here: only our own is answered.
        if (self.headers.get("Host") or "").rpartition(":")[0] not in (HOST, "localhost"):
            self._answer(403, "text/plain", b"this page is shown to this machine alone\n")
            return
        path = self.path.partition("?")[0]
        try:
            if path == "/":
                self._answer(200, "text/html; charset=utf-8", self.pages.page())
            elif path == "/state":
                state = json.dumps({"state": self.pages.state()}).encode()
                self._answer(200, "application/json", state)
            else:
                self._answer(404, "text/plain", b"there is only one page here\n")
        except LLMPolicyError as error:
            self._answer(503, "text/plain; charset=utf-8", f"{error}\n".encode())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""
