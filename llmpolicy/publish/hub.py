"""Calls to the Hub: never in the open to another machine, never without an end, again where that
may help.
"""

import ipaddress
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import _http, parse_ratelimit_headers
from huggingface_hub.utils._xet import abort_xet_session

from llmpolicy.errors import PublishError
from llmpolicy.run import redact
from llmpolicy.terminal import tell, visible

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt, where the Hub asks for no more."""
LONGEST_WAIT = 300.0
"""Seconds that are waited at most, whatever the Hub asks for; its own limits of requests are for
five minutes.
"""
TOLD_WAIT = 10.0
ANSWER = 60.0
"""Seconds without a byte after which a request is given up."""
TRANSFER = 600.0
SLOWEST = 100_000
"""A transfer gets ``TRANSFER`` seconds and one more for each ``SLOWEST`` bytes."""
XET = {
    "HF_XET_CLIENT_CONNECT_TIMEOUT": "10s",
    "HF_XET_CLIENT_READ_TIMEOUT": "30s",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
}
"""The patience of the Hub's storage client, in its own variables; by itself it tries a refusing
port for ever.
"""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of the Hub that another attempt may change."""
# The client's HTTP library changed between its releases; the first base of its own error names it
# in either.
HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
# RuntimeError: an upload that failed. The lookups: answers in another form than the client reads.
FAILURES = (HTTP_ERROR, OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError)
NOTHING = "nothing was published, publish again"
Result = TypeVar("Result")


class Attempts:
    """Up to five tries of one call; between them it waits, as long as the Hub asks for within
    reason.
    """

    def __init__(self, repo: str, end: str = NOTHING) -> None:
        self.repo, self.end = repo, end
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[None]:
        yield
        for seconds in WAITS:
            wait = min(max(seconds, _asked(self.failure)), LONGEST_WAIT)
            if wait > TOLD_WAIT:
                tell(f"{self.repo}: the Hub asks to wait; trying again in {wait:.0f} s")
            time.sleep(wait)
            yield

    def failed(self, error: Exception) -> None:
        """Note a failure; raises PublishError when another attempt cannot change it."""
        self.failure = error
        if not _passing(error):
            raise refused(self.repo, error, self.end) from error

    def given_up(self) -> PublishError:
        """The last failure, after all attempts, as one sentence."""
        assert self.failure
        return refused(self.repo, self.failure, self.end, 1 + len(WAITS))


def again(repo: str, call: Callable[[], Result], end: str = NOTHING) -> Result:
    """Make a call that may be made twice without harm, until it succeeds; raises PublishError if it
    does not.
    """
    attempts = Attempts(repo, end)
    for _ in attempts:
        try:
            return call()
        except FAILURES as error:
            attempts.failed(error)
    raise attempts.given_up() from attempts.failure


@contextmanager
def careful() -> Iterator[None]:
    """Within, no request waits for ever, and none carries a token in the open to another
    machine.
    """
    usual, without_xet = _http._GLOBAL_CLIENT_FACTORY, constants.HF_HUB_DISABLE_XET

    def patient() -> Any:
        client = usual()
        if client.timeout.read is None:
            client.timeout = ANSWER
        hooks = client.event_hooks
        client.event_hooks = {**hooks, "request": [*hooks["request"], _keep_token]}
        return client

    for name, value in XET.items():
        os.environ.setdefault(name, value)
    set_client_factory(patient)
    try:
        yield
    finally:
        set_client_factory(usual)
        constants.HF_HUB_DISABLE_XET = without_xet


def check_endpoint(endpoint: str) -> None:
    """Raise PublishError where the token would go over a line that others can read."""
    if urlsplit(endpoint).scheme not in ("https", "http"):
        raise PublishError(f"HF_ENDPOINT {visible(endpoint)!r} is no address; expected https://...")
    if _open(endpoint):
        raise PublishError(
            f"HF_ENDPOINT {visible(endpoint)!r} is plain http to another machine, where others can"
            " read the token; use https"
        )
    parts, proxies = urlsplit(endpoint), getproxies()
    proxy = parts.scheme == "http" and (proxies.get("http") or proxies.get("all"))
    if proxy and not proxy_bypass(parts.hostname or ""):
        raise PublishError(
            f"HF_ENDPOINT {visible(endpoint)!r} is plain http, which a proxy of the environment"
            f" would read; set NO_PROXY to {parts.hostname}"
        )


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Make a call that changes nothing others see; raises TimeoutError when it has no end after so
    many seconds.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failures.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        worker.join(seconds)
    finally:
        if worker.is_alive():
            abort_xet_session()
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError(f"no end after {seconds:.0f} s")
    return results[0]


def status(error: Exception) -> int | None:
    """The HTTP status of the answer that failed, if it was one."""
    answer = getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
    return None if answer is None else int(answer.status_code)


def refused(repo: str, error: Exception, end: str = NOTHING, attempts: int = 1) -> PublishError:
    """The failure as one sentence, without the token; ``end`` says what became of the
    publication.
    """
    if cause := _of_ours(error):
        return cause
    if status(error) == 401:
        return PublishError(
            f"{repo}: the Hub did not accept the token; run `hf auth login`, or set HF_TOKEN anew"
        )
    if status(error) == 403:
        return PublishError(
            f"{repo}: the token may not write there; use one with write access, or another name"
        )
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return PublishError(f"{repo}: the Hub failed{tried} ({said(error)}); {end}")


def said(error: Exception) -> str:
    """What an error says, and what caused it, in one line without the token."""
    causes = filter(None, (error, error.__cause__))
    text = ": ".join(str(cause) or type(cause).__name__ for cause in causes)
    if isinstance(error, (LookupError, TypeError, AttributeError)):
        text = f"an answer in another form than expected: {text}"
    if token := get_token():
        text = text.replace(token, "[redacted]")
    return visible(redact(" ".join(text.split())))[:200]


def _passing(error: Exception) -> bool:
    """Whether the failure may be over soon: a busy Hub, a broken connection or answer, but no
    refusal.
    """
    if (number := status(error)) is not None:
        return number in PASSING
    return not (isinstance(error, (HFValidationError, OfflineModeIsEnabled)) or _of_ours(error))


def _of_ours(error: Exception) -> PublishError | None:
    """Our own refusal, also inside the error that the client made of it."""
    for cause in (error, error.__cause__):
        if isinstance(cause, PublishError):
            return cause
    return None


def _asked(error: Exception | None) -> float:
    """The seconds that the Hub asks to wait: in its limits of requests, or in Retry-After as a
    number or a date.
    """
    headers: Mapping[str, str] = {}
    for cause in (getattr(error, "__cause__", None), error):
        answer = getattr(cause, "response", None)
        if answer is not None:
            headers = answer.headers
    limits = parse_ratelimit_headers(headers)
    of_limits = 0.0
    if limits and limits.remaining == 0:
        of_limits = limits.reset_in_seconds + 1.0
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return max(of_limits, float(text))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return of_limits
    if not moment.tzinfo:
        moment = moment.replace(tzinfo=UTC)
    return max(of_limits, (moment - datetime.now(UTC)).total_seconds())


def _keep_token(request: Any) -> None:
    if "authorization" in request.headers and _open(str(request.url)):
        raise PublishError(
            f"the token would go over plain http to {request.url.host}; nothing was published"
        )


def _open(url: str) -> bool:
    """Whether an address is plain http to another machine than this."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    host = (parts.hostname or "").rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
