"""One publication is one commit on the Hub: built whole on this machine first, then sent, again if the way fails."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from llmpolicy.errors import PublishError
from llmpolicy.publish.artefact import Choice, build, choose
from llmpolicy.publish.files import PublishedFile, What, ours
from llmpolicy.publish.local import Told
from llmpolicy.run import Run, redact

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of the Hub that another attempt may change."""
MOVED = 412
"""The Hub's answer when the parent of a commit is no longer the head."""
# The client's HTTP library changed between its releases; the first base of its own error names it in either.
HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
HUB_ERRORS = (HTTP_ERROR, OSError, ValueError)
WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".ckpt", ".onnx", ".msgpack", ".h5")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Published:
    """What was sent: the repository's address, every file, the commit; ``commit`` is None after a dry run."""

    repo_url: str
    files: tuple[PublishedFile, ...]
    commit: str | None
    choice: Choice
    replaced: tuple[str, ...] = ()
    """What told of this machine and does not any more, a line a file and kind."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a repository holds now: its last commit, its visibility, and each file's content id."""

    commit: str | None
    private: bool
    content: Mapping[str, str]


def publish(
    run: Run,
    repo: str,
    *,
    what: What | None = None,
    which: str | None = None,
    private: bool = True,
    dry_run: bool = False,
) -> Published:
    """Publish a run's language model as USER/NAME on the Hub, in one commit; a dry run builds and checks only.

    The token comes from the environment or from ``hf auth login``. Raises PublishError; the run is only read.
    """
    _check_name(repo)
    choice = choose(run, what, which)
    if not dry_run and get_token() is None:
        raise PublishError("no token for the Hub: run `hf auth login`, or set HF_TOKEN to one that may write")
    told = Told()
    with tempfile.TemporaryDirectory(prefix="llmpolicy-publish-") as temporary:
        folder = Path(temporary)
        files = _built(run, choice, repo, folder, told)
        api = HfApi()
        commit = None if dry_run else _push(api, repo, folder, files, private)
    return Published(f"{api.endpoint}/{repo}", files, commit, choice, told.lines())


def _built(run: Run, choice: Choice, repo: str, folder: Path, told: Told) -> tuple[PublishedFile, ...]:
    try:
        return build(run, choice, repo, folder, told)
    except OSError as error:
        failed = f"{error.filename or folder}: {error.strerror or error}"
        raise PublishError(f"{failed}; nothing was sent (TMPDIR moves the work folder)") from error


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"--repo {repo!r} is no name on the Hub: {' '.join(str(error).split()):.160}") from error
    if repo.count("/") != 1:
        raise PublishError(f"--repo {repo!r}: expected USER/NAME, with the user or organisation that owns it")


def _push(api: HfApi, repo: str, folder: Path, files: tuple[PublishedFile, ...], private: bool) -> str:
    """Create the repository unless it is there, and commit; returns the commit's id."""
    _again(repo, lambda: api.create_repo(repo, private=private, exist_ok=True))
    head = _head(api, repo)
    _check_destination(repo, head, private)
    commit = _commit_once(api, repo, folder, files, head)
    after = _head(api, repo)
    if after.commit == commit and not _holds(after, files):
        raise PublishError(f"{repo}: commit {commit} does not hold all files as they were sent (has it a .gitignore?)")
    return commit


def _check_destination(repo: str, head: Head, private: bool) -> None:
    """Never publish into a repository of another visibility than asked, nor over weights of another origin."""
    if head.private != private:
        found, asked = ("private", "public") if head.private else ("public", "private")
        raise PublishError(
            f"{repo} exists and is {found}, {asked} was asked for; change it in its settings on the Hub, "
            f"publish {'without' if head.private else 'with'} --public, or choose another name"
        )
    foreign = sorted(name for name in head.content if name.endswith(WEIGHTS))
    if foreign and "llmpolicy_manifest.json" not in head.content:
        raise PublishError(f"{repo} holds weights that llmpolicy did not publish ({foreign[0]}); choose another name")


def _commit_once(api: HfApi, repo: str, folder: Path, files: tuple[PublishedFile, ...], head: Head) -> str:
    """Commit on top of ``head``, at most once: before each further attempt, look whether the last one went through.

    The parent is part of the commit, so that two attempts cannot both be accepted, whatever was lost on the way.
    """
    for _ in _attempts():
        try:
            return api.create_commit(
                repo,
                _operations(folder, files, head),
                commit_message="Publish with llmpolicy",
                parent_commit=head.commit,
            ).oid
        except HUB_ERRORS as error:
            failure = error
            if not (_passing(error) or _status(error) == MOVED):
                raise _refused(repo, error) from error
        now = _head(api, repo)
        if now.commit is not None and _holds(now, files):
            return now.commit
        if now.commit != head.commit:
            raise PublishError(f"{repo} was changed by somebody else meanwhile; nothing was published, publish again")
    raise _refused(repo, failure, 1 + len(WAITS)) from failure


def _operations(
    folder: Path, files: tuple[PublishedFile, ...], head: Head
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Add every file; remove what an earlier publication left, or an old adapter would be loaded with new weights.

    Made anew for each attempt, because the client marks the operations it has worked on.
    """
    names = {file.name for file in files}
    stale = sorted(name for name in head.content if ours(name) and name not in names)
    adds = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in sorted(names)]
    return [*adds, *(CommitOperationDelete(path_in_repo=name) for name in stale)]


def _head(api: HfApi, repo: str) -> Head:
    info = _again(repo, lambda: api.model_info(repo, files_metadata=True))
    content = {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or ()}
    return Head(info.sha, bool(info.private), content)


def _holds(head: Head, files: tuple[PublishedFile, ...]) -> bool:
    """Whether the repository holds exactly these contents, and nothing left of an earlier publication."""
    names = {file.name for file in files}
    return {name for name in head.content if ours(name)} == names and all(
        head.content[file.name] in (file.sha256, file.blob_id) for file in files
    )


def _again(repo: str, call: Callable[[], Result]) -> Result:
    """Make a call that may be made twice without harm, until it succeeds or fails for good."""
    for _ in _attempts():
        try:
            return call()
        except HUB_ERRORS as error:
            failure = error
            if not _passing(error):
                raise _refused(repo, error) from error
    raise _refused(repo, failure, 1 + len(WAITS)) from failure


def _attempts() -> Iterator[None]:
    yield
    for seconds in WAITS:
        time.sleep(seconds)
        yield


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _passing(error: Exception) -> bool:
    """Whether the failure may be over soon: a busy Hub or a broken connection, but no refusal."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    broken = isinstance(error, (HTTP_ERROR, ConnectionError, TimeoutError))
    return broken and not isinstance(error, OfflineModeIsEnabled)


def _refused(repo: str, error: Exception, attempts: int = 1) -> PublishError:
    """The failure as one sentence, without the token."""
    status = _status(error)
    if status == 401:
        return PublishError(f"{repo}: the Hub did not accept the token; run `hf auth login`, or set HF_TOKEN anew")
    if status == 403:
        return PublishError(f"{repo}: the token may not write there; use one with write access, or another name")
    said = redact(" ".join(str(error).split()))[:200]
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return PublishError(f"{repo}: the Hub failed{tried} ({said}); nothing was published, publish again")
