"""One publication is one commit on the Hub: built whole on this machine first, then sent, again if
the way fails.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from huggingface_hub.utils._runtime import is_xet_available

from llmpolicy.errors import PublishError, one_line
from llmpolicy.publish import hub
from llmpolicy.publish.artefact import build, machine_of
from llmpolicy.publish.choice import Choice, choose
from llmpolicy.publish.files import Files, ours
from llmpolicy.publish.local import Replaced
from llmpolicy.run import Run
from llmpolicy.run.sealed import WEIGHTS
from llmpolicy.terminal import tell

MOVED = 412
"""The Hub's answer when the parent of a commit is no longer the head."""
MANIFEST = "llmpolicy_manifest.json"
SHA256 = 64


@dataclass(frozen=True, slots=True)
class Published:
    """What was sent: the repository's address, every file, the commit; ``commit`` is None after a
    dry run.
    """

    repo_url: str
    files: Files
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
    what: str | None = None,
    which: str | None = None,
    private: bool = True,
    dry_run: bool = False,
    overwrite: bool = False,
    samples: bool | None = None,
) -> Published:
    """Publish a run's language model as USER/NAME on the Hub, in one commit; a dry run builds and
    checks only.

    ``overwrite`` replaces what was edited on the Hub since. ``samples`` puts the first held-out
    prompts and completions on the card; by default where the rows come from the Hub, reasoning-gym
    or llmpolicy itself. What was sent is read back and compared. The token comes from the
    environment or from ``hf auth login``. Raises PublishError; the run is only read.
    """
    _check_name(repo)
    choice = choose(run, what, which, samples)
    if not dry_run:
        hub.check_endpoint(constants.ENDPOINT)
    if not dry_run and get_token() is None:
        raise PublishError(
            "no token for the Hub: run `hf auth login`, or set HF_TOKEN to one that may write"
        )
    replaced = Replaced(machine_of(run))
    with tempfile.TemporaryDirectory(prefix="llmpolicy-publish-") as temporary:
        folder = Path(temporary)
        files = _built(run, choice, repo, folder, replaced)
        api = HfApi()
        commit = None if dry_run else _push(api, repo, folder, files, private, overwrite)
    return Published(f"{api.endpoint}/{repo}", files, commit, choice, replaced.lines())


def _built(run: Run, choice: Choice, repo: str, folder: Path, replaced: Replaced) -> Files:
    try:
        return build(run, choice, repo, folder, replaced)
    except OSError as error:
        failed = f"{error.filename or folder}: {error.strerror or error}"
        raise PublishError(f"{failed}; nothing was sent (TMPDIR moves the work folder)") from error


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(
            f"--repo {repo!r} is no name on the Hub: {one_line(error):.160}"
        ) from error
    if repo.count("/") != 1:
        raise PublishError(
            f"--repo {repo!r}: expected USER/NAME, with the user or organisation that owns it"
        )


def _push(
    api: HfApi,
    repo: str,
    folder: Path,
    files: Files,
    private: bool,
    overwrite: bool,
) -> str:
    """Create the repository unless it is there, commit, and read back what is there now; returns
    the commit's id.
    """
    with hub.careful():
        hub.again(repo, lambda: api.create_repo(repo, private=private, exist_ok=True))
        head = _head(api, repo)
        _check_destination(repo, head, private)
        if not overwrite and (edited := next(_edited(api, repo, head, files), None)):
            raise PublishError(
                f"{repo}: {edited} there is not what llmpolicy last published, so somebody edited"
                " it; save what is worth keeping and replace it with --overwrite"
            )
        commit = _commit_once(api, repo, folder, files, head)
        _compare(api, repo, commit, files)
    return commit


def _check_destination(repo: str, head: Head, private: bool) -> None:
    """Never publish into a repository of another visibility than asked, nor over weights of another
    origin.
    """
    if head.private != private:
        visibility, asked, flag = "public", "private", "with"
        if head.private:
            visibility, asked, flag = "private", "public", "without"
        raise PublishError(
            f"{repo} exists and is {visibility}, {asked} was asked for; change it in its settings"
            f" on the Hub, publish {flag} --public, or choose another name"
        )
    if MANIFEST in head.content:
        return
    for name in sorted(head.content):
        if name.endswith(WEIGHTS):
            raise PublishError(
                f"{repo} holds weights that llmpolicy did not publish ({name}); choose another name"
            )


def _edited(api: HfApi, repo: str, head: Head, files: Files) -> Iterator[str]:
    """The files to be replaced or removed that are on the Hub other than the last publication
    recorded them.
    """
    recorded = _recorded(api, repo, head)
    sent = {file.name: (file.sha256, file.blob_id) for file in files}
    for name, there in head.content.items():
        contents = (*sent.get(name, ()), recorded.get(name))
        if not (ours(name) or name in sent) or name == MANIFEST or there in contents:
            continue
        # The Hub lists small files by git's hash, the record has their sha256.
        if len(there) == SHA256 or _sha256(api, repo, name, head.commit) not in contents:
            yield name


def _recorded(api: HfApi, repo: str, head: Head) -> Mapping[str, str]:
    """The sha256 of each file that the last publication sent; none where no record can be read."""
    if MANIFEST not in head.content:
        return {}
    with _fetched(api, repo, MANIFEST, head.commit) as path:
        try:
            files = json.loads(path.read_bytes())["files"]
            return {name: file["sha256"] for name, file in files.items()}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {}


@contextmanager
def _fetched(
    api: HfApi, repo: str, name: str, revision: str | None, end: str = hub.NOTHING, size: int = 0
) -> Iterator[Path]:
    """A file of the Hub, here for a moment."""
    with tempfile.TemporaryDirectory(prefix="llmpolicy-read-") as folder:

        def fetch() -> str:
            # An attempt that was given up holds the lock of its folder.
            target = tempfile.mkdtemp(dir=folder)
            return api.hf_hub_download(
                repo, name, revision=revision, local_dir=target, force_download=True
            )

        # The client waits as long as any answer asks for.
        seconds = hub.TRANSFER + size / hub.SLOWEST
        yield Path(hub.again(repo, lambda: hub.within(seconds, fetch), end))


def _sha256(
    api: HfApi, repo: str, name: str, revision: str | None, end: str = hub.NOTHING, size: int = 0
) -> str:
    with _fetched(api, repo, name, revision, end, size) as path, open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _commit_once(api: HfApi, repo: str, folder: Path, files: Files, head: Head) -> str:
    """Commit on top of ``head``, at most once: before each further attempt, look whether the last
    one went through.

    The parent is part of the commit, so that two attempts cannot both be accepted, whatever was
    lost on the way.
    """
    attempts = hub.Attempts(repo)
    for _ in attempts:
        operations = _operations(folder, files, head)
        try:
            _upload(api, repo, operations, sum(file.size for file in files))
            message = "Publish with llmpolicy"
            return api.create_commit(
                repo, operations, commit_message=message, parent_commit=head.commit
            ).oid
        except hub.FAILURES as error:
            if hub.status(error) == MOVED:
                attempts.failure = error
            else:
                attempts.failed(error)
        now = _head(api, repo)
        if now.commit is not None and _holds(now, files):
            return now.commit
        if now.commit != head.commit:
            raise PublishError(
                f"{repo} was changed by somebody else meanwhile; nothing was published, publish"
                " again"
            )
    raise attempts.given_up() from attempts.failure


def _upload(
    api: HfApi, repo: str, operations: list[CommitOperationAdd | CommitOperationDelete], size: int
) -> None:
    """Send the large files, which no one sees before the commit; by plain HTTP where the Hub's
    storage client fails.
    """
    additions = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
    seconds = hub.TRANSFER + size / hub.SLOWEST

    def send() -> None:
        hub.within(seconds, lambda: api.preupload_lfs_files(repo, additions, free_memory=False))

    if not is_xet_available():
        return send()
    try:
        return send()
    except hub.FAILURES as error:
        if hub.status(error) is not None:
            raise
        tell(f"{repo}: the upload through Xet failed ({hub.said(error)}); going on without it")
    constants.HF_HUB_DISABLE_XET = True
    return send()


def _operations(
    folder: Path, files: Files, head: Head
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Add every file; remove what an earlier publication left, or an old adapter would be loaded
    with new weights.

    Made anew for each attempt, because the client marks the operations it has worked on.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    names = {file.name for file in files}
    for name in sorted(names):
        operations.append(CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name))
    for name in sorted(filter(ours, head.content.keys() - names)):
        operations.append(CommitOperationDelete(path_in_repo=name))
    return operations


def _head(api: HfApi, repo: str, revision: str | None = None, end: str = hub.NOTHING) -> Head:
    repository = hub.again(
        repo,
        lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=hub.ANSWER),
        end,
    )
    content = {}
    for file in repository.siblings or ():
        content[file.rfilename] = file.lfs.sha256 if file.lfs else str(file.blob_id)
    return Head(repository.sha, bool(repository.private), content)


def _holds(head: Head, files: Files) -> bool:
    """Whether the repository holds exactly these contents, and nothing left of an earlier
    publication.
    """
    for file in files:
        if head.content.get(file.name) not in (file.sha256, file.blob_id):
            return False
    left = head.content.keys() - {file.name for file in files}
    return not any(map(ours, left))


def _compare(api: HfApi, repo: str, commit: str, files: Files) -> None:
    """Read every file of a commit back and compare it with what was sent; raises PublishError where
    one differs.
    """
    end = f"commit {commit} is not proved to be what was sent, publish again"
    constants.HF_HUB_DISABLE_XET = True  # read by another way than it was sent
    if not _holds(_head(api, repo, commit, end), files):
        raise PublishError(
            f"{repo}: commit {commit} does not hold all files as they were sent (has it a"
            " .gitignore?)"
        )
    for file in files:
        if _sha256(api, repo, file.name, commit, end, file.size) != file.sha256:
            raise PublishError(
                f"{repo}: {file.name} of commit {commit} came back other than it was sent; {end}"
            )
