"""The page of a run: what it holds is what the run wrote, and nothing in it is more than data."""

import base64
import gzip
import http.client
import json
import math
import re
import socket
import threading
from array import array
from collections import Counter
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, make_run, row

from llmpolicy import Run
from llmpolicy.cli import run as command
from llmpolicy.diagnosis.finding import SHOWN
from llmpolicy.errors import RunError
from llmpolicy.report import view
from llmpolicy.report.page import curves, page_of, rows, write_page
from llmpolicy.report.page.pack import json_text, plain
from llmpolicy.report.page.rows import FARTHEST, NOT_OWN, Tokens, shade, shortened
from llmpolicy.report.view import Live, server_of, state_of


class Elements(HTMLParser):
    """The elements of a page, their attributes, and what is inside those that have an id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.inside: dict[str, str] = {}
        self._now = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._now = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.inside[self._now] = self.inside.get(self._now, "") + data

    def block(self, name: str) -> bytes:
        """A packed block, unpacked by the standard library."""
        return gzip.decompress(base64.b64decode(self.inside[name]))


def test_a_page_holds_what_the_run_wrote(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    page = Elements(page_of(run.path))
    held = json.loads(page.block("rows"))
    written = list(run.rollouts("train"))
    assert [held["texts"][at] for at in held["text"]] == [one["completion"] for one in written]
    assert [held["prompts"][at] for at in held["prompt"]] == [one["prompt"] for one in written]
    for name in ("step", "reward", "advantage", "row", "group"):
        assert held[name] == [one[name] for one in written]
    assert held["parts"]["short"] == pytest.approx([one["reward/short"] for one in written])
    read = [held["texts"][at] for at in held["said"]["parsed/exact"]]
    assert read == [one["parsed/exact"] for one in written]
    ids, shades = array("I", page.block("tokens")), page.block("shades")
    begin = held["tokens"][5]
    pieces = [held["pieces"][at] for at in ids[begin : begin + 3]]
    assert pieces == ["4", "4", "<|end|>"]  # ids 26, 26, 2 of the bundled model
    back = [-FARTHEST * (byte / (NOT_OWN - 1)) ** 2 for byte in shades[begin : begin + 3]]
    assert back == pytest.approx(written[5]["log_probs"], abs=0.05)


def test_a_page_names_nothing_outside_itself_and_lets_only_its_own_script_run(
    tmp_path: Path,
) -> None:
    page = page_of(make_run(tmp_path / "run", HOSTILE).path)
    elements = Elements(page)
    assert sorted(set(elements.tags)) == [
        *("body", "head", "html", "meta", "noscript", "script", "style", "title")
    ]
    assert not [name for name, _ in elements.attributes if name in ("src", "href", "style")]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]  # type: ignore[index]
    for kind in ("script", "style"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for rule in ("default-src 'none'", "connect-src 'none'", "trusted-types 'none'"):
        assert rule in policy


def test_hostile_texts_are_held_letter_by_letter(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", HOSTILE)
    page = Elements(page_of(run.path))
    held = json.loads(page.block("rows"))
    assert set(HOSTILE) <= set(held["texts"])
    facts = json.loads(page.inside["facts"])
    assert facts["answers"][0]["prompt"] == HOSTILE[0]
    assert facts["faults"][0]["why"] == HOSTILE[0]


@given(st.text() | st.sampled_from(["</script>", "<!--", "\u2028", "\ud800", "]]>"]))
def test_no_text_ends_a_script_element(text: str) -> None:
    written = json_text({"text": text})
    assert "<" not in written
    if "\ud800" not in text:
        assert json.loads(written) == {"text": text}


@given(st.floats(-60, 0))
def test_a_shade_is_the_log_probability_within_a_step_of_its_scale(log_prob: float) -> None:
    root = math.sqrt(min(-log_prob, FARTHEST) / FARTHEST)
    assert abs(shade(log_prob) / (NOT_OWN - 1) - root) <= 0.5 / (NOT_OWN - 1) + 1e-9
    assert shade(None) == shade(math.nan) == NOT_OWN != shade(log_prob)


def test_what_json_has_no_word_for_is_named() -> None:
    data = {"a": math.nan, "b": [math.inf, 1.5, None, True], 3: Path("x")}
    assert plain(data) == {"a": "nan", "b": ["inf", 1.5, None, True], "3": "x"}


def test_of_too_many_rollouts_some_steps_are_held_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", steps=10, groups=2)
    monkeypatch.setattr(rows, "MOST_ROWS", 30)
    page = Elements(page_of(run.path))
    held = json.loads(page.block("rows"))
    assert sorted(set(held["step"])) == [1, 4, 7, 10]  # 80 rows: every third step, and the last
    assert "Of 80 completions 32 are here" in page.inside["facts"]


def test_tokens_are_held_of_the_groups_that_teach_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", steps=1, groups=1)
    strong = [row(2, 7, member, "5", advantage=9.0) for member in range(4)]
    weak = [row(2, 8, member, "5") for member in range(4)]
    run.write_rollouts(2, [*weak, *strong])
    monkeypatch.setattr(rows, "MOST_TOKENS", 24)  # twelve a step: one group's
    page = Elements(page_of(run.path))
    held = json.loads(page.block("rows"))
    by_token = {
        (step, group)
        for step, group, at in zip(held["step"], held["group"], held["tokens"], strict=True)
        if at >= 0
    }
    assert by_token == {(1, 0), (2, 7)}
    assert "Tokens are shown one by one in 8 completions" in page.inside["facts"]


def test_tokens_that_do_not_fit_are_left_out_whole() -> None:
    tokens = Tokens(3)
    assert tokens.add([7, 8], [-1.0, None]) == 0
    assert tokens.add([7, 8], [-1.0, -1.0]) == -1
    assert (list(tokens.ids), list(tokens.shades)) == ([0, 1], [shade(-1.0), NOT_OWN])


def test_a_long_text_lacks_its_middle_and_the_page_says_so(tmp_path: Path) -> None:
    text = "a" * 60_000 + "b" * 40_000
    cut = shortened(text)
    assert cut.startswith("a" * 15_000) and cut.endswith("b" * 5_000)
    assert "80000 characters are left out" in cut and len(cut) < 20_100
    page = page_of(make_run(tmp_path / "run", (text,), steps=1).path)
    assert "texts of more than 20,000 characters lack their middle" in page


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda run: [file.unlink() for file in run.rollout_files()], "kept no completions"),
        (lambda run: (run.path / "metrics.jsonl").unlink(), "no lines of training"),
        (lambda run: (run.path / "answers.jsonl").write_text("{"), "answers.jsonl is damaged"),
        (lambda run: (run.path / "faults.jsonl").write_text("[]\n{"), "2 lines of faults.jsonl"),
    ],
)
def test_a_page_says_what_it_lacks(tmp_path: Path, made: Any, says: str) -> None:
    run = make_run(tmp_path / "run")
    made(run)
    page = Elements(page_of(run.path))
    assert says in page.inside["facts"]
    assert json.loads(page.block("rows"))["step"] is not None


def test_a_run_without_a_step_has_a_page(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "none", "seed": 0})
    facts = json.loads(Elements(page_of(run.path)).inside["facts"])
    assert facts["charts"] == [] and len(facts["missing"]) >= 2


def test_damaged_rollouts_leave_a_page_of_the_others(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    file = run.rollout_files()[2]
    file.write_bytes(file.read_bytes()[:100])
    held = json.loads(Elements(page_of(run.path)).block("rows"))
    assert sorted(set(held["step"])) == [1, 2, 4, 5, 6]


def test_the_output_of_trl_has_a_page(tmp_path: Path) -> None:
    history = [{"step": step, "reward": 0.1 * step, "grad_norm": 1.0} for step in range(1, 9)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    facts = json.loads(Elements(page_of(tmp_path)).inside["facts"])
    assert [chart["name"] for chart in facts["charts"]] == ["reward", "gradient"]
    assert any("TRL's output" in sentence for sentence in facts["missing"])


def test_curves_are_thinned_and_keep_their_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MOST_POINTS", 3)
    run = make_run(tmp_path / "run", steps=10, groups=1)
    facts = json.loads(Elements(page_of(run.path)).inside["facts"])
    reward = next(chart for chart in facts["charts"] if chart["name"] == "reward")
    assert reward["steps"] == [1, 5, 9, 10]


def test_report_writes_a_page_where_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    assert write_page(run.path) == run.path / "report.html"
    monkeypatch.setattr("sys.argv", ["llmpolicy", "report", str(run.path), "--out", "/no/where/x"])
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert "there is no folder /no/where" in capsys.readouterr().err
    with pytest.raises(RunError, match="holds no run"):
        page_of(tmp_path / "none")


def ask(port: int, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """An answer of the server to a browser that came by this name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_a_view_follows_a_run_and_answers_this_machine_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    now = [0.0]
    server = server_of(Live(run.path, clock=lambda: now[0]), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    try:
        status, headers, page = ask(port, "/")
        first = json.loads(Elements(page.decode()).inside["facts"])["live"]
        assert status == 200 and "connect-src 'self'" in page.decode()
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        run.log(7, {"reward": 1.0})
        assert json.loads(ask(port, "/state")[2]) == {"state": first}  # it is not time to look yet
        now[0] = 3.0
        assert json.loads(ask(port, "/state")[2])["state"] == state_of(run.path) != first
        facts = json.loads(Elements(ask(port, "/")[2].decode()).inside["facts"])
        assert facts["live"] == state_of(run.path)
        assert dict(facts["head"])["steps"].startswith("7")
        assert ask(port, "/", "rebound.example:80")[0] == 403
        assert ask(port, "/../../etc/passwd")[0] == 404
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    from llmpolicy.report.view import serve

    run = make_run(tmp_path / "run")
    server = server_of(Live(run.path), 0)
    with server, pytest.raises(RunError, match="cannot be taken"):
        serve(run.path, server.server_address[1], print)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET //[ HTTP/1.1", 404),
        (b"GET http://[/ HTTP/1.1", 404),
        (b"GET /%2e%2e/etc HTTP/1.1", 404),
        (b"POST / HTTP/1.1", 501),
        (b"GET /" + b"a" * 65_536 + b" HTTP/1.1", 414),
    ],
)
def test_an_odd_request_gets_an_answer_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request_line: bytes, status: int
) -> None:
    server = server_of(Live(make_run(tmp_path / "run").path), 0)
    with server, socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as client:
        client.sendall(request_line + b"\r\nHost: 127.0.0.1:1\r\n\r\n")
        server.handle_request()
        assert f" {status} ".encode() in client.recv(65_536)
    assert capsys.readouterr().err == ""


def test_a_client_that_goes_away_or_says_nothing_is_let_go_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_of(Live(make_run(tmp_path / "run").path), 0)
    assert view._Handler.timeout == view.PATIENCE
    monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.1)
    with server, socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as client:
        server.handle_request()
        assert client.recv(1) == b""  # it was hung up on
    for error, silent in ((ConnectionResetError, True), (TimeoutError, True), (KeyError, False)):
        try:
            raise error("here")
        except error:
            server.handle_error(socket.socket(), ("127.0.0.1", 1))
        assert (capsys.readouterr().err == "") is silent


def test_rows_stay_beside_their_completions_where_tokens_are_damaged(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    file = run.rollout_files()[1]
    table = pq.read_table(file)
    at = table.schema.get_field_index("token_ids")
    pq.write_table(table.set_column(at, "token_ids", pa.array(["x"] * len(table))), file)
    held = json.loads(Elements(page_of(run.path)).block("rows"))
    assert held["step"] == [one["step"] for one in run.rollouts("train", without=("token_ids",))]
    lengths = dict(zip(held["step"], held["length"], strict=True))
    assert lengths == {1: 3, 2: None, 3: 3, 4: 3, 5: 3, 6: 3}
    read = [held["texts"][at] for at in held["said"]["parsed/exact"][24:]]
    assert read == [one["parsed/exact"] for one in run.rollouts("train") if one["step"] > 2]


def test_a_finding_of_many_completions_brings_no_more_steps_onto_a_page_than_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", steps=40, groups=2, reward=None)
    monkeypatch.setattr(rows, "MOST_ROWS", 32)
    page = Elements(page_of(run.path))
    kinds = {each["kind"] for each in json.loads(page.inside["facts"])["diagnosis"]["findings"]}
    assert "unjudged" in kinds
    held = json.loads(page.block("rows"))
    assert len(set(held["step"])) <= 4 + 1 + len(kinds) * SHOWN < 40


def test_the_kinds_of_groups_that_are_listed_are_those_that_are_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4, groups=2)
    run.write_rollouts(5, [row(5, 0, member, "same", reward=0.0) for member in range(4)])
    run.write_rollouts(6, [row(6, 0, member, str(member), reward=None) for member in range(4)])
    page = Elements(page_of(run.path))
    facts, held = json.loads(page.inside["facts"]), json.loads(page.block("rows"))
    of_group = dict(zip(zip(held["step"], held["group"], strict=True), held["kind"], strict=True))
    assert of_group[5, 0] == "no_exploration" and of_group[6, 0] == "unjudged"
    (drawn,) = [chart for chart in facts["charts"] if chart["name"] == "signal"]
    groups = Counter(step for step, _ in of_group)
    for series in drawn["series"]:
        listed = [kind for kind in of_group.values() if facts["kinds"][kind] == series["label"]]
        shares = zip(drawn["steps"], series["values"], strict=True)
        assert sum(share * groups[step] for step, share in shares) == len(listed)
