"""A small server on 127.0.0.1 that speaks as an OpenAI-compatible endpoint does, well or badly."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789abcdef"


@dataclass(frozen=True)
class Answer:
    """What the server sends; ``body`` is a chat completion's text, or raw bytes. ``drop`` closes
    the connection instead.
    """

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ended: str = "stop"
    wait: float = 0.0
    drop: bool = False
    tokens: int | None = 10
    refusal: str | None = None


Behaviour = Callable[[list[dict[str, str]]], Answer]


@dataclass
class Judge:
    """The server: what it answers next, and what it was asked."""

    base_url: str
    behaviour: Behaviour
    first: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def answer(self, body: dict[str, Any], key: str | None) -> Answer:
        self.asked.append(body)
        self.times.append(time.monotonic())
        self.keys.append(key)
        return self.first.pop(0) if self.first else self.behaviour(body["messages"])


@contextmanager
def serving(behaviour: Behaviour, first: list[Answer] | None = None) -> Iterator[Judge]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = judge.answer(body, self.headers.get("Authorization"))
            time.sleep(answer.wait)
            if answer.drop:
                self.close_connection = True
                self.connection.close()
                return
            content = answer.body if isinstance(answer.body, bytes) else completion(answer)
            try:
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client gave up

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge = Judge(f"http://127.0.0.1:{server.server_address[1]}/v1", behaviour, list(first or []))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(answer: Answer) -> bytes:
    message = {
        "role": "assistant",
        "content": None if answer.refusal else answer.body,
        "refusal": answer.refusal,
    }
    usage = {"usage": {"total_tokens": answer.tokens}} if answer.tokens is not None else {}
    return json.dumps(
        {"choices": [{"message": message, "finish_reason": answer.ended}], **usage}
    ).encode()


def verdict_lines(messages: list[dict[str, str]], choice: str) -> str:
    """The lines that the rules ask for, each with this choice."""
    return "\n".join(
        form.replace("CHOICE", choice)
        for form in re.findall(r"(?m)^\S+ .+: CHOICE$", messages[0]["content"])
    )


def candidate(messages: list[dict[str, str]]) -> str:
    """What stands between the two marks of the last message."""
    mark = re.search(r"(?m)^(\w{16}-candidate)$", messages[-1]["content"])
    assert mark, messages
    return messages[-1]["content"].split(mark[1])[1].strip()


def always(choice: str) -> Behaviour:
    return lambda messages: Answer(f"I looked at it.\n{verdict_lines(messages, choice)}")


def says(make: Callable[[list[dict[str, str]]], str]) -> Behaviour:
    return lambda messages: Answer(make(messages))
