"""The worst judge: a model on this machine that repeats what it reads. By it a judge is asked about
family G without one.
"""

import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_FORM = re.compile(r"^\S+ .+: CHOICE$", re.MULTILINE)
_CHOICES = re.compile(r"^CHOICE of .+ is one of: (.+)$", re.MULTILINE)


@contextmanager
def repeating(right: Collection[str]) -> Iterator[str]:
    """The base_url of an endpoint that repeats its last message and then judges, in the form that
    `judge:score` asks for.

    It makes the last choice that it is offered, and the first when the message holds one of the
    texts that are ``right``.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": _reply(body["messages"], right)}
            content = json.dumps(
                {"choices": [{"message": message, "finish_reason": "stop"}]}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _reply(messages: Sequence[Mapping[str, str]], right: Collection[str]) -> str:
    asked, last = "\n".join(message["content"] for message in messages), messages[-1]["content"]
    which = 0 if any(text in last for text in right) else -1
    forms = _FORM.findall(asked)
    # Its own marks and numbers it leaves out of what it repeats, as a reader would: they are no
    # part of the candidate.
    repeated = last.splitlines()
    for form in forms:
        mark = form.split()[0]
        repeated = [line for line in repeated if mark not in line]
    lines = ["\n".join(repeated)]
    for form, choices in zip(forms, _CHOICES.findall(asked), strict=False):
        lines.append(form.replace("CHOICE", choices.split(", ")[which]))
    return "\n".join(lines)
