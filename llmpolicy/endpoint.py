"""A client for OpenAI-compatible chat endpoints, for rewards that ask another model.

A failure is ours, never the model's: it raises EndpointError, which is counted as a fault, and
never becomes a score. A key that is missing and a budget that is spent stop the run in words
(RewardError).
"""

import email.utils
import json
import os
import random
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmpolicy.errors import LLMPolicyError, RewardError

if TYPE_CHECKING:
    import asyncio  # loaded where it is used: a reward that asks nobody should start at once

Fields = Mapping[str, Any]
"""Of the body of a request."""
_RETRIED = {408, 409, 429, *range(500, 600)}
_MAX_BYTES = 1_000_000
_LONGEST_WAIT = 30.0
_FAILURES_IN_A_ROW = 5
_PAUSE_SECONDS = 30.0
_EXCERPT = 200
_SECRET = re.compile(r"\b(?:sk|hf|gsk|xai|key)[-_][\w*.-]{6,}|(?i:bearer)\s+\S+")


class EndpointError(LLMPolicyError):
    """An endpoint gave no usable reply within the attempts and the time it had."""


class _Passing(Exception):
    """A failure that another attempt may get over; ``wait`` is what the server asked for, in
    seconds.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and within which limits.

    ``api_key_env`` is the name of the environment variable with the key (None: no key). ``timeout``
    is in seconds a request, ``deadline`` in seconds a question with all its attempts and waits.
    ``budget`` is the tokens, prompt and reply together, that a process may spend with its workers;
    questions under way when it is reached are still paid for.
    """

    base_url: str
    model: str
    api_key_env: str | None = "OPENAI_API_KEY"
    max_tokens: int = 512
    concurrency: int = 16
    attempts: int = 5
    timeout: float = 60.0
    deadline: float = 120.0
    first_wait: float = 0.5
    budget: int | None = None

    def __post_init__(self) -> None:
        """RewardError for an address or a limit that makes no sense."""
        if not _is_address(self.base_url):
            raise RewardError(
                "An endpoint's base_url should read like 'https://host/v1', without a user or a key"
                " in it."
            )
        if not isinstance(self.model, str) or not self.model:
            raise RewardError(f"An endpoint's model is a name, not {self.model!r}.")
        for name in ("max_tokens", "concurrency", "attempts", "timeout", "deadline", "first_wait"):
            if not getattr(self, name) > 0:
                raise RewardError(
                    f"An endpoint's {name} is {getattr(self, name)!r}; expected more than 0."
                )
        self.key()

    def key(self) -> str | None:
        """The key from the environment; RewardError, without the key, when it is missing or cannot
        be sent.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise RewardError(
                f"The environment variable {self.api_key_env} holds no key for {self.base_url}; set"
                " it, or `api_key_env: null` for an endpoint that needs none."
            )
        if not re.fullmatch(r"[!-~]+", key):
            raise RewardError(
                f"The key in the environment variable {self.api_key_env} has characters no key has."
            )
        return key


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, whether it came to its end, and the tokens that the question cost."""

    text: str
    finished: bool
    tokens: int


@dataclass
class Usage:
    """What one process has asked of one endpoint: questions answered and failed, tokens, and until
    when it is left alone.
    """

    answered: int = 0
    failed: int = 0
    tokens: int = 0
    in_a_row: int = 0
    paused_until: float = 0.0


@dataclass
class _OfLoop:
    """What belongs to one event loop: the client, what closes it, and how many may use it at
    once.
    """

    client: Any
    life: AsyncGenerator[Any, None]
    gates: "dict[Endpoint, asyncio.Semaphore]" = field(default_factory=dict)


_usage: dict[tuple[str, str], Usage] = {}
_loops: "dict[asyncio.AbstractEventLoop, _OfLoop]" = {}


def usage(endpoint: Endpoint) -> Usage:
    """The counters of this process for an endpoint's address and model."""
    return _usage.setdefault((endpoint.base_url, endpoint.model), Usage())


def spent() -> list[tuple[str, str, int, int]]:
    """Address, model, answers and tokens of each endpoint that was asked."""
    return [(*key, used.answered, used.tokens) for key, used in _usage.items()]


def carry(before: Sequence[tuple[str, str, int, int]]) -> None:
    """Count on from what `spent` said elsewhere: a budget outlives the worker that spends it."""
    for address, model, answered, tokens in before:
        used = _usage.setdefault((address, model), Usage())
        used.answered, used.tokens = answered, tokens


async def ask(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    request: Fields | None = None,
) -> Reply:
    """The model's reply to chat messages, at temperature 0; ``request`` adds fields to the body,
    None removes one.

    Retries 408, 409, 429, 5xx, lost connections and replies that are none, with exponential
    back-off and jitter, no sooner than a Retry-After says. EndpointError when the attempts or the
    deadline are used up, for any other status, and for half a minute after five such failures in a
    row; RewardError when the budget is spent.
    """
    import asyncio

    connection = await _of_this_loop()
    gate = connection.gates.setdefault(endpoint, asyncio.Semaphore(endpoint.concurrency))
    body = {
        "model": endpoint.model,
        "messages": list(messages),
        "max_tokens": endpoint.max_tokens,
        "temperature": 0,
    }
    body = {name: value for name, value in {**body, **(request or {})}.items() if value is not None}
    async with gate:
        counted = usage(endpoint)
        _check_open(endpoint, counted)
        try:
            reply = await _attempts(endpoint, connection.client, body)
        except EndpointError:
            counted.failed += 1
            counted.in_a_row += 1
            if counted.in_a_row >= _FAILURES_IN_A_ROW:
                counted.paused_until = time.monotonic() + _PAUSE_SECONDS
            raise
        counted.answered, counted.in_a_row = counted.answered + 1, 0
        counted.tokens += reply.tokens
        return reply


def _is_address(url: Any) -> bool:
    """Whether this is an http address without a user, a password or a query in it, where a key
    could stand.
    """
    try:
        address = urlsplit(str(url))
        port = address.port
    except ValueError:
        return False
    plain = not (address.username or address.password or address.query or address.fragment)
    return plain and address.scheme in ("http", "https") and bool(address.hostname) and port != 0


async def _of_this_loop() -> _OfLoop:
    import asyncio

    loop = asyncio.get_running_loop()
    if loop not in _loops:
        for old in [known for known in _loops if known.is_closed()]:
            del _loops[old]
        life = _life_of_client()
        _loops[loop] = _OfLoop(await anext(life), life)
    return _loops[loop]


async def _life_of_client() -> AsyncGenerator[Any, None]:
    """The client of one event loop. It is a generator because a loop that ends, as asyncio.run's
    does, closes those.
    """
    import httpx2

    headers = {"Accept-Encoding": "identity"}  # so that the cap on a reply's size holds
    client = httpx2.AsyncClient(verify=_certificates(), headers=headers, follow_redirects=False)
    try:
        yield client
    finally:
        await client.aclose()


@lru_cache
def _certificates() -> Any:
    """Read once a process: it takes a tenth of a second."""
    import httpx2

    return httpx2.create_ssl_context()


def _check_open(endpoint: Endpoint, counted: Usage) -> None:
    if endpoint.budget is not None and counted.tokens >= endpoint.budget:
        raise RewardError(
            f"The token budget of {endpoint.model} is spent: {counted.tokens} of {endpoint.budget}"
            f" after {counted.answered} answers; raise `budget`, or train on what is there."
        )
    left = counted.paused_until - time.monotonic()
    if left > 0:
        raise EndpointError(
            f"{endpoint.base_url} failed {counted.in_a_row} times in a row and is left alone for"
            f" {left:.0f} s more."
        )


async def _attempts(endpoint: Endpoint, client: Any, body: Fields) -> Reply:
    import asyncio

    started, key = time.monotonic(), endpoint.key()
    for attempt in range(1, endpoint.attempts + 1):
        left = endpoint.deadline - (time.monotonic() - started)
        try:
            return await asyncio.wait_for(
                _once(endpoint, client, body, key), max(0.001, min(endpoint.timeout, left))
            )
        except TimeoutError:
            reason, wait = f"no reply within {min(endpoint.timeout, left):.3g} s", None
        except _Passing as failure:
            reason, wait = str(failure), failure.wait
        left = endpoint.deadline - (time.monotonic() - started)
        pause = _pause(endpoint, attempt, wait)
        if attempt == endpoint.attempts or pause >= left:
            why = (
                f"after {attempt} of {endpoint.attempts} attempts in"
                f" {time.monotonic() - started:.1f} s"
            )
            raise EndpointError(
                f"{endpoint.base_url} ({endpoint.model}): {_redacted(reason, key)}, {why}."
            )
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _pause(endpoint: Endpoint, attempt: int, asked_for: float | None) -> float:
    backoff = min(_LONGEST_WAIT, endpoint.first_wait * 2 ** (attempt - 1))
    # A generator of our own: the global one belongs to the training run.
    jittered = backoff * random.Random(os.urandom(8)).uniform(0.5, 1.0)
    return max(jittered, asked_for or 0.0)


async def _once(endpoint: Endpoint, client: Any, body: Fields, key: str | None) -> Reply:
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = endpoint.base_url.rstrip("/") + "/chat/completions"
    try:
        async with client.stream(
            "POST", url, json=body, headers=headers, timeout=endpoint.timeout
        ) as response:
            content = await _content(response)
    except httpx2.HTTPError as error:
        raise _Passing(f"{type(error).__name__} {error}".strip()) from None
    if response.status_code != 200:
        words = " ".join(content.decode("utf-8", "replace").split())
        status = f"status {response.status_code} {words[:_EXCERPT]}".strip()
        if response.status_code in _RETRIED:
            raise _Passing(status, _retry_after(response.headers.get("retry-after")))
        raise EndpointError(f"{endpoint.base_url} ({endpoint.model}): {_redacted(status, key)}.")
    return _reply(content, len(json.dumps(body)))


async def _content(response: Any) -> bytes:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_BYTES:
            raise _Passing(f"a reply of more than {_MAX_BYTES} bytes")
    return content


def _reply(content: bytes, asked: int) -> Reply:
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        text, ended = choice["message"].get("content"), choice.get("finish_reason")
        tokens = (answer.get("usage") or {}).get("total_tokens")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _Passing("a reply that is no chat completion") from None
    if choice["message"].get("refusal") or text is None:
        return Reply("", finished=False, tokens=_count(tokens, asked + len(content)))
    if not isinstance(text, str):
        raise _Passing(f"a reply whose content is a {type(text).__name__}")
    return Reply(
        text, finished=ended in ("stop", None), tokens=_count(tokens, asked + len(content))
    )


def _count(tokens: Any, size: int) -> int:
    """The tokens that the endpoint counted, or, where it counts none, a token for four bytes of
    question and reply.
    """
    return tokens if isinstance(tokens, int) and tokens >= 0 else size // 4


def _retry_after(header: str | None) -> float | None:
    """Seconds from now, from a number of seconds or a date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _redacted(text: str, key: str | None) -> str:
    return _SECRET.sub("[key]", text.replace(key, "[key]") if key else text)
