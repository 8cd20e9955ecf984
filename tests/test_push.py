"""The way to the Hub: whatever is refused, cut, late, garbled or a lie, there is one whole commit,
or none and a sentence.
"""

# ruff: noqa: F401, F811 - fixtures
import copy
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.errors import PublishError
from llmpolicy.publish import hub as way
from llmpolicy.publish import publish
from llmpolicy.run import Run
from tests.hub_client import NAME, Client, start
from tests.hub_server import Blob, Fault, HubServer, Repo, plain
from tests.test_publish import (
    adapter,
    base,
    commits,
    hub,
    make_run,
    run,
    send,
    served,
)

WEIGHTS = "adapter_model.safetensors"

LOST = Fault("commit", status=None, after=True)
PAGE = b"<!doctype html><title>Please log in</title>"
"""What a captive portal, or a proxy, answers to everything."""
SOON = {"ANSWER": 1.0, "TRANSFER": 4.0, "LONGEST_WAIT": 0.2}


def slow(fault: Fault) -> Any:
    return pytest.param(fault, marks=pytest.mark.slow)


def name_of(fault: Fault) -> str:
    how = (
        "late" * bool(fault.late)
        + "cut" * fault.cut
        + "garbled" * (fault.status == 200 and not fault.cut)
    )
    return (
        f"{fault.route}-{how or fault.status or 'dropped'}{'-after' * fault.after}-x{fault.times}"
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault("create", 503),
        Fault("create", 429, times=2),
        Fault("create", None),
        Fault("create", None, after=True),
        Fault("create", 200, body=PAGE),
        Fault("create", late=9),
        Fault("info", 502),
        Fault("info", 200, body=PAGE),
        Fault("info", late=9),
        Fault("preupload", 200, body={"files": []}),
        Fault("preupload", 200, body=[]),
        Fault("batch", 200, body={"objects": "none"}),
        Fault("put", 500),
        Fault("put", 400),
        Fault("put", 403),
        slow(Fault("put", late=9)),
        slow(Fault("put", 503, headers={"Retry-After": "99999"})),
        Fault("verify", 400),
        Fault("verify", 200, cut=True),
        Fault("commit", 503),
        Fault("commit", 429),
        Fault("commit", 500, times=4),
        Fault("commit", None),
        Fault("commit", 504, after=True),
        Fault("commit", 200, after=True, body=PAGE),
        Fault("commit", 200, after=True, body={}),
        Fault("commit", 0, cut=True),
        Fault("commit", 0, late=9),
        LOST,
        Fault("head", 503),
        Fault("head", None),
        Fault("resolve", 502),
        Fault("resolve", 0, cut=True),
        slow(Fault("resolve", 503, headers={"Retry-After": "99999"})),
        slow(Fault("head", 503, headers={"Retry-After": "99999"})),
    ],
    ids=name_of,
)
def test_a_passing_failure_still_gives_exactly_one_commit(
    fault: Fault, run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [copy.copy(fault)]
    _, commit, files = send(run=run.path, limits=SOON)
    assert hub.faults[0].times == 0
    assert commits(hub) == [commit]
    assert set(hub.repos[NAME].tree) == set(files) | {".gitattributes"}
    assert hub.repos[NAME].private


def test_a_commit_that_lands_while_it_is_sent_again_is_found(
    run: Run, hub: HubServer, send: Client
) -> None:
    """The gateway gives up, the commit lands after the client has looked: the second attempt is
    turned away (412).
    """
    held: list[Any] = []

    def hold() -> None:
        held.append(hub.repos[NAME].commits.pop())

    def land() -> None:
        hub.repos[NAME].commits.append(held[0])

    hub.faults = [Fault("commit", 504, after=True, do=hold), Fault("commit", 0, do=land)]
    _, commit, _ = send(run=run.path)
    assert commits(hub) == [commit] == [held[0].oid]


def test_a_failure_that_stays_is_one_sentence_and_no_commit(
    run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [Fault("commit", 503, times=99)]
    refused = send(run=run.path)["refused"]
    assert "failed after 5 attempts" in refused
    assert "\n" not in refused
    assert commits(hub) == []
    assert [route for route, *_ in hub.requests].count("commit") == 5


@pytest.mark.parametrize(
    "status", [503, 0], ids=["after a failure", "between reading and committing"]
)
def test_somebody_elses_commit_is_never_overwritten(
    status: int, run: Run, hub: HubServer, send: Client
) -> None:
    def intrude() -> None:
        repo = hub.repos[NAME]
        repo.commit("theirs", {**repo.tree, "README.md": plain(b"theirs")})

    hub.faults = [Fault("commit", status, do=intrude)]
    assert "changed by somebody else" in send(run=run.path)["refused"]
    assert [commit.title for commit in hub.repos[NAME].commits[1:]] == ["theirs"]


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "did not accept the token"), (403, "may not write"), (400, "injected")],
)
def test_a_refusal_is_not_repeated(
    status: int, said: str, run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [Fault("commit", status)]
    assert said in send(run=run.path)["refused"]
    assert [route for route, *_ in hub.requests].count("commit") == 1


def test_a_repository_of_another_visibility_is_refused(
    run: Run, hub: HubServer, send: Client
) -> None:
    hub.repos[NAME] = Repo(private=False)
    hub.repos[NAME].commit("theirs", {})
    assert "is public, private was asked for" in send(run=run.path)["refused"]
    assert commits(hub) == []
    assert not hub.objects
    _, commit, _ = send(run=run.path, private=False)
    assert commits(hub) == [commit]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_weights_of_another_origin_are_never_replaced(
    name: str, run: Run, hub: HubServer, send: Client
) -> None:
    hub.repos[NAME] = Repo(private=True)
    hub.repos[NAME].commit("theirs", {name: Blob(b"x", True, "0" * 64, 1)})
    assert f"llmpolicy did not publish ({name})" in send(run=run.path)["refused"]
    assert commits(hub) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("create", 200, body=PAGE, times=99),
        Fault("create", None, times=99),
        Fault("info", 200, body=[], times=99),
        Fault("preupload", 200, body={}, times=99),
        Fault("put", 400, times=99),
        slow(Fault("put", late=2, times=99)),
        slow(Fault("put", 503, headers={"Retry-After": "99999"}, times=99)),
        Fault("commit", 200, body=PAGE, times=99),
    ],
    ids=name_of,
)
def test_whatever_stays_is_one_sentence_and_no_commit(
    fault: Fault, run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [copy.copy(fault)]
    refused = send(run=run.path, limits={"ANSWER": 0.5, "TRANSFER": 1.0})["refused"]
    assert refused.startswith(f"{NAME}: the Hub failed after 5 attempts (")
    assert refused.endswith("); nothing was published, publish again")
    assert "\n" not in refused
    assert len(refused) < 300
    assert NAME not in hub.repos or commits(hub) == []


# Who lies is found


def stored(hub: HubServer, name: str, content: bytes | None) -> None:
    """The Hub has another content under a name of the last commit than it was sent, or none."""
    tree = hub.repos[NAME].tree
    blob = tree.pop(name)
    if content is not None:
        tree[name] = Blob(content, blob.lfs, hashlib.sha256(content).hexdigest(), len(content))


LIES: dict[str, tuple[Any, str]] = {
    "a commit that was not made": (
        lambda hub: Fault(
            "commit",
            200,
            body={
                "success": True,
                "commitOid": "a" * 40,
                "commitUrl": f"{hub.url}/{NAME}/commit/x",
            },
        ),
        "is not proved to be what was sent",
    ),
    "the commit before it": (
        lambda hub: Fault(
            "commit", 0, lie=lambda body: {**body, "commitOid": hub.repos[NAME].commits[0].oid}
        ),
        "does not hold all files as they were sent",
    ),
    "a file left out": (
        lambda hub: Fault("commit", 0, after=True, do=lambda: stored(hub, "tokenizer.json", None)),
        "does not hold all files as they were sent",
    ),
    "weights stored otherwise": (
        lambda hub: Fault(
            "commit", 0, after=True, do=lambda: stored(hub, WEIGHTS, b"other weights")
        ),
        "does not hold all files as they were sent",
    ),
    "weights handed out otherwise": (
        lambda hub: Fault("resolve", 0, times=99, lie=lambda body: body[:-1] + b"!"),
        "came back other than it was sent",
    ),
    "files handed out short": (
        lambda hub: Fault("resolve", 0, times=99, lie=lambda body: body[:-1]),
        "is not proved to be what was sent",
    ),
    "files that cannot be read": (
        lambda hub: Fault("resolve", 503, times=99),
        "is not proved to be what was sent",
    ),
    "a listing that says what was sent": (
        lambda hub: Fault("resolve", 0, times=99, lie=lambda body: b"{}"),
        "is not proved to be what was sent",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_lies_is_found(lie: str, run: Run, hub: HubServer, send: Client) -> None:
    tell, said = LIES[lie]
    hub.faults = [tell(hub)]
    refused = send(run=run.path)["refused"]
    assert hub.faults[0].met
    assert said in refused
    assert "\n" not in refused


def test_a_repository_that_is_made_public_instead_gets_nothing(
    run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [
        Fault("create", 0, after=True, do=lambda: setattr(hub.repos[NAME], "private", False))
    ]
    assert "is public, private was asked for" in send(run=run.path)["refused"]
    assert not hub.objects


# The Hub asks to wait


@pytest.mark.slow
@pytest.mark.parametrize("form", ["seconds", "date", "limits"])
def test_the_wait_that_the_hub_asks_for_is_kept(
    form: str, run: Run, hub: HubServer, send: Client
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    asked = {
        "seconds": {"Retry-After": "2"},
        "date": {"Retry-After": date},
        "limits": {
            "ratelimit": '"api";r=0;t=1',
            "ratelimit-policy": '"fixed window";"api";q=500;w=300',
        },
    }[form]
    met: list[float] = []
    hub.faults = [
        Fault("create", 429, headers=asked, do=lambda: met.append(time.time())),
        Fault("create", 0, do=lambda: met.append(time.time())),
    ]
    _, commit, _ = send(run=run.path)
    assert commits(hub) == [commit]
    assert met[1] - met[0] > 1.9


@pytest.mark.parametrize(
    "text", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "²", "-5", "soon", "", "Fri, 32 Dec 2020"]
)
def test_no_wait_is_longer_than_the_limit(
    text: str, run: Run, hub: HubServer, send: Client
) -> None:
    hub.faults = [Fault("create", 503, headers={"Retry-After": text.encode().decode("latin-1")})]
    begun = time.time()
    _, commit, _ = send(run=run.path, limits={"LONGEST_WAIT": 0.1})
    assert commits(hub) == [commit]
    assert time.time() - begun < 30


# Xet, the Hub's storage


@pytest.fixture(scope="module")
def xet(served: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = start(served, tmp_path_factory.mktemp("xet"), HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1")
    yield client
    served.xet_url = None
    assert client.process.stdin
    client.process.stdin.close()
    assert client.process.wait(20) == 0


def test_xet_storage_gets_one_commit_too(
    run: Run, hub: HubServer, xet: Client, tmp_path: Path
) -> None:
    (tmp_path / "cas").mkdir()
    hub.xet_url = f"local://{tmp_path / 'cas'}"
    weights = (run.policy_dir / WEIGHTS).read_bytes()
    hub.xet_objects = {hashlib.sha256(weights).hexdigest(): weights}
    _, commit, files = xet(run=run.path)
    assert commits(hub) == [commit]
    assert hub.repos[NAME].tree[WEIGHTS].sha256 == files[WEIGHTS]
    assert not hub.objects
    assert any(path.is_file() for path in (tmp_path / "cas").rglob("*"))


@pytest.mark.parametrize("how", ["refusing", "hanging", "absent"])
def test_where_xet_does_not_answer_the_files_go_without_it(
    how: str, run: Run, hub: HubServer, xet: Client
) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if how == "hanging":
            port.listen()
        hub.xet_url = None if how == "absent" else f"http://127.0.0.1:{port.getsockname()[1]}"
        begun = time.time()
        _, commit, files = xet(run=run.path, limits={"TRANSFER": 3.0})
    assert time.time() - begun < 30
    assert commits(hub) == [commit]
    assert hub.objects.keys() == {files[WEIGHTS]}


# What somebody else wrote there


def edit(hub: HubServer, name: str, text: bytes | None) -> None:
    tree = dict(hub.repos[NAME].tree)
    if text is None:
        del tree[name]
    else:
        tree[name] = plain(text)
    hub.repos[NAME].commit("by hand", tree)


@pytest.mark.parametrize("name", ["README.md", "chat_template.jinja", "vocab.txt"])
def test_what_was_edited_by_hand_is_only_replaced_when_asked(
    name: str, run: Run, base: Path, adapter: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    send(run=run.path)
    edit(hub, name, b"by hand")
    again = {"run": make_run(tmp_path / "again", base, adapter, hub_id="somebody/tiny-llama").path}
    assert f"{name} there is not what llmpolicy last published" in send(**again)["refused"]
    assert len(commits(hub)) == 2
    assert hub.repos[NAME].tree[name].content == b"by hand"
    _, commit, files = send(**again, overwrite=True)
    assert commits(hub)[2:] == [commit]
    assert set(hub.repos[NAME].tree) == {*files, ".gitattributes"}


def test_what_nobody_edited_is_replaced(
    run: Run, base: Path, adapter: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    send(run=run.path)
    edit(hub, "picture.png", b"a picture")
    edit(hub, "tokenizer.json", None)
    _, commit, _ = send(
        run=make_run(tmp_path / "again", base, adapter, hub_id="somebody/other").path
    )
    assert commits(hub)[-1] == commit


@pytest.mark.parametrize(
    "record", [b"no json", b"[" * 10_000, b'{"files": 3}', b'{"files": {"README.md": {}}}']
)
def test_without_a_record_that_can_be_read_all_there_is_somebody_elses(
    record: bytes, run: Run, hub: HubServer, send: Client
) -> None:
    hub.repos[NAME] = Repo(private=True)
    hub.repos[NAME].commit(
        "theirs", {"llmpolicy_manifest.json": plain(record), "README.md": plain(b"# theirs")}
    )
    assert "README.md there is not what llmpolicy last published" in send(run=run.path)["refused"]
    assert commits(hub) == []


# The token


@pytest.mark.parametrize(
    ("endpoint", "open_"),
    [
        ("https://huggingface.co", False),
        ("https://hub.example.org:8443/hf", False),
        ("http://127.0.0.1:8080", False),
        ("http://127.8.9.1", False),
        ("http://localhost:8080", False),
        ("http://[::1]:8080", False),
        ("http://hub.example.org", True),
        ("HTTP://hub.example.org", True),
        ("http://localhost.example.org", True),
        ("http://127.0.0.1.example.org", True),
        ("http://127.0.0.1@hub.example.org", True),
        ("http://localhost:x@hub.example.org", True),
        ("http://10.0.0.7:8080", True),
        ("http://0x7f.1.example", True),
        ("http://[fe80::1]", True),
        ("http://", True),
        ("hub.example.org", True),
        ("ftp://127.0.0.1", True),
    ],
)
def test_no_token_goes_over_plain_http_to_another_machine(
    endpoint: str, open_: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(known, raising=False)
    if not open_:
        way.check_endpoint(endpoint)
        return
    monkeypatch.setattr("llmpolicy.publish.push.get_token", lambda: "hf_x")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    with pytest.raises(PublishError, match="HF_ENDPOINT"):
        publish(run, NAME)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "all_proxy"])
def test_nor_through_a_proxy_that_reads_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, "http://proxy.example.org:3128")
    with pytest.raises(
        PublishError, match=r"a proxy of the environment would read; set NO_PROXY to 127\.0\.0\.1"
    ):
        way.check_endpoint("http://127.0.0.1:80")
    way.check_endpoint("https://huggingface.co")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    way.check_endpoint("http://127.0.0.1:80")


def test_nor_when_the_hub_itself_points_there(run: Run, hub: HubServer, send: Client) -> None:
    def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
        body["objects"][0]["actions"]["verify"]["href"] = "http://192.0.2.1/verify"
        return body

    hub.faults = [Fault("batch", 0, lie=elsewhere)]
    assert send(run=run.path)["refused"].startswith(
        "the token would go over plain http to 192.0.2.1"
    )
    hub.faults = [Fault("info", 302, body="", headers={"Location": "http://192.0.2.1/"}, times=9)]
    assert "192.0.2.1" in json.dumps(send(run=run.path)["refused"])
    assert commits(hub) == []


def test_a_run_with_a_reward_of_its_own_is_known_again_by_all_its_files(
    run: Run, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    source = tmp_path / "mine.py"
    source.write_text("def right(completion):\n    return 1.0\n")
    run.recipe["rewards"].append({"fn": "mine.py:right", "weight": 1.0})
    (run.path / "recipe.yaml").write_text(yaml.safe_dump(run.recipe))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    run.update_manifest(
        base_dir=str(tmp_path),
        files=[{"for": "mine.py:right", "file": "mine.py", "sha256": digest}],
    )
    hub.faults[:] = [copy.copy(LOST)]
    _, commit, files = send(run=run.path)
    assert files["mine.py"] == digest
    assert commits(hub) == [commit]
    assert send(run=run.path)[1] == commit
