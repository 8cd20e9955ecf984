"""What is published tells nothing of the machine it was made on: found by value under every key, in
every file.
"""

import io
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from llmpolicy.errors import PublishError
from llmpolicy.publish import publish, publish_run
from llmpolicy.publish.artefact import build, machine_of
from llmpolicy.publish.choice import choose
from llmpolicy.publish.local import Machine, Replaced, local_in, portable, portable_text
from llmpolicy.publish.weights import not_finite, text_in
from llmpolicy.run import Run
from tests.models import model, tokenizer
from tests.test_publish import EVALUATION, NAME, make_run

THERE = Machine(("/srv-x/my proj", "/home/jdoe42/work"), ("jdoe42",), ("gpu-07.corp", "gpu-07"))
CUT = {
    "/home/jdoe42/x.py": "x.py",
    "/home/jdoe42": "[user]",
    "/mnt/team disk/a b/c.txt": "c.txt",
    "file:///home/a/b.txt": "b.txt",
    "file:///C:/Users/a/b.txt": "b.txt",
    "see file://nas/a/b.txt, line 3": "see b.txt, line 3",
    "~/rewards/x.py:score": "x.py:score",
    "~bob/x/y": "y",
    "../../a/b.py:fn": "b.py:fn",
    "..\\..\\a\\b": "b",
    "a/../../b/c": "c",
    r"C:\Users\bob\my files\x.txt": "x.txt",
    "C:\\\\Users\\\\bob\\\\x": "x",
    "C:/Users/bob/x.txt": "x.txt",
    r"\\server\share\dir\file.txt": "file.txt",
    r"see \\srv01\team\x now": "see x now",
    "//nas/team/x": "x",
    "$HOME/x/y": "y",
    "${SCRATCH}/p/x": "x",
    r"%USERPROFILE%\x\y": "y",
    "/data/lr=1e-5,bs=8/ckpt/": "ckpt",
    "--out=/scratch/x/y --b": "--out=y --b",
    "-I/srv-x/my proj/inc/y": "-Iy",
    "/mnt/d/x,/mnt/d/y:/mnt/d/z": "x,y:z",
    'File "/opt/x/y.py", line 3, in f (/nas/a/b/c.so)': 'File "y.py", line 3, in f (c.so)',
    "cd /srv/x && y 2>/srv/x/log": "cd x && y 2>log",
    "https://u:p@h.com/x?token=abc&y=1": "https://h.com/x?token=[removed]&y=1",
    "https://tok@github.com/a/b.git": "https://github.com/a/b.git",
    "s3://AKIA:sec/ret@bucket/k": "s3://bucket/k",
    "hf://u:p@datasets/a": "hf://datasets/a",
    "postgres://u:p@h:5432/db": "postgres://h:5432/db",
    "https://x.net/b?sv=2&X-Amz-Signature=abc&sig=abc": "https://x.net/b?sv=2&X-Amz-Signature=[removed]&sig=[removed]",
    "by jdoe42@gpu-07.corp.": "by [user]@[host].",
}  # fmt: skip
KEPT = (
    "yes/no", "and/or, km/h, 1/2/3", "/think or /no_think", "</think> <tool_call/>", "openai/gsm8k", "jdoe42/model",
    r"\frac{a}{b} \\ \hline x", r"$a\\b\\c$", r"\alpha\beta\gamma", "2026/05/03", "r/AskReddit /r/MachineLearning", "... a.b",
    "7//2/3", "Q:/A:", "// a comment/with it", "https://huggingface.co/Qwen/Qwen2.5?x=1", "hf://datasets/a/b", "s3://bucket/k",
    r"^/answer/(\d+)/$", "application/json", "rewards/x.py:fn", "./x/y", "ratio 3:/4", "</s>/home", "sk-", "a@b", "C:\\",
)  # fmt: skip


@pytest.mark.parametrize("text", CUT)
def test_of_a_path_the_last_name_is_left_and_of_an_address_no_password(text: str) -> None:
    replaced = Replaced(THERE)
    assert portable_text(text, replaced) == CUT[text]
    assert replaced.counts
    assert local_in(CUT[text], THERE) is None


@pytest.mark.parametrize("text", KEPT)
def test_other_texts_stay_as_they_are(text: str) -> None:
    replaced = Replaced(THERE)
    assert portable_text(text, replaced) == text
    assert not replaced.counts
    assert local_in(text, THERE) is None


def test_it_is_found_in_keys_lists_and_mappings_of_any_depth() -> None:
    value: Any = {"/mnt/a/x": [{"q": ("~/b/y", 3, None, Path("/mnt/c/z"))}]}
    replaced = Replaced(THERE, file="recipe.yaml")
    assert portable(value, replaced) == {"x": [{"q": ["y", 3, None, "z"]}]}
    assert replaced.lines() == ("recipe.yaml: 3 x a path, of which the last name is left",)


# In what is published


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model("llama", seed=1).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, weights: Path) -> Run:
    return make_run(tmp_path / "run", weights, weights)


def staged(run: Run, folder: Path) -> tuple[dict[str, str], Replaced]:
    folder.mkdir()
    replaced = Replaced(machine_of(run))
    build(run, choose(run), NAME, folder, replaced)
    return {
        path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors"
    }, replaced


def test_no_key_of_recipe_manifest_and_evaluation_hides_a_path(
    run: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    """Under keys that nobody thinks of, in the card too; the names of the machine and its user as
    well.
    """
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-07.corp")
    monkeypatch.setenv("USER", "jdoe42")
    secret = f"{tmp_path}/cellar folder"
    run.recipe["rewards"][0]["args"] = {
        "dictionary": f"{secret}/words.txt",
        "deep": [{"er": f"x={tmp_path}/cellar/w"}],
    }
    run.recipe["model"]["chat_template_path"] = "../../cellar/template.jinja"
    run.recipe["task"][0]["system"] = (
        f"Look into {tmp_path}/cellar/notes.md, ask jdoe42@gpu-07.corp."
    )
    run.recipe["task"][0]["url"] = "https://cellar:cellar@example.com/rows?token=cellar"
    run.manifest["command"] = f"llmpolicy train file://{tmp_path}/cellar/r.yaml --out ~/cellar/run"
    run.manifest["failure"] = {"trace": [f'File "{tmp_path}/cellar/x.py", line 1 on gpu-07']}
    run.manifest["files"] = [{"file": r"C:\Users\cellar\rows.jsonl", "sha256": "ab" * 32}]
    run.write_evaluation({**EVALUATION, "rows_from": {f"{tmp_path}/cellar/t.jsonl": 3}})
    texts, replaced = staged(run, tmp_path / "staged")
    for name, text in texts.items():
        told_of = [word for word in ("cellar", str(tmp_path), "jdoe42", "gpu-07") if word in text]
        assert not told_of, (name, [line for line in text.splitlines() if told_of[0] in line])
    recipe = yaml.safe_load(texts["recipe.yaml"])
    assert recipe["rewards"][0]["args"] == {"dictionary": "words.txt", "deep": [{"er": "x=w"}]}
    assert recipe["task"][0]["system"] == "Look into notes.md, ask [user]@[host]."
    assert recipe["task"][0]["url"] == "https://example.com/rows?token=[removed]"
    assert json.loads(texts["evaluation.json"])["rows_from"] == {"t.jsonl": 3}
    assert {line.partition(":")[0] for line in replaced.lines()} >= {
        "recipe.yaml",
        "evaluation.json",
        "llmpolicy_manifest.json",
    }


def test_a_setting_beside_the_weights_that_is_a_path_keeps_its_last_name(
    run: Run, tmp_path: Path
) -> None:
    for name, key in (
        ("config.json", "_name_or_path"),
        ("tokenizer_config.json", "vocab_file"),
        ("generation_config.json", "x"),
    ):
        file = run.policy_dir / name
        file.write_text(
            json.dumps({**json.loads(file.read_text()), key: f"{tmp_path}/models/tiny"})
        )
    texts, replaced = staged(run, tmp_path / "staged")
    assert json.loads(texts["config.json"])["_name_or_path"] == "tiny"
    assert json.loads(texts["tokenizer_config.json"])["vocab_file"] == "tiny"
    line = "config.json: 1 x a path, of which the last name is left"
    assert line in replaced.lines()
    console = Console(record=True, width=200, file=io.StringIO())
    publish_run(run.path, NAME, dry_run=True, console=console)
    assert f"replaced: {line}" in console.export_text()


@pytest.mark.parametrize(
    "text",
    [
        "{home}/notes",
        "file://{home}/notes",
        "%2Fhome%2Fsomebody%2Fnotes",
        r"C:\Users\x\notes",
        "https://u:p@example.com",
    ],
)
@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "tokenizer_config.json", "tokenizer.json", "model.safetensors"]
)
def test_where_others_wrote_it_is_refused_in_a_sentence(
    name: str, text: str, run: Run, tmp_path: Path
) -> None:
    """A template, a tokenizer and weights are not rewritten: they would be others."""
    file, text = run.policy_dir / name, f"see {text.replace('{home}', str(tmp_path))} there"
    if name.endswith(".jinja"):
        file.write_text(f"{{# {text} #}}")
    elif name.endswith(".json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": text}))
    else:
        save_file(load_file(file), file, metadata={"format": "pt", "note": text})
    with pytest.raises(
        PublishError, match=f"{name} holds (a path|an address).*; remove it there and publish again"
    ):
        publish(run, NAME, dry_run=True)


def test_pieces_of_a_vocabulary_are_no_paths(run: Run, tmp_path: Path) -> None:
    file = run.policy_dir / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"] |= {"/home/": 1000, "C:\\Users\\x": 1001, "~/x/y": 1002}
    file.write_text(json.dumps(content))
    (run.policy_dir / "vocab.txt").write_text("/home/x/y\n")
    assert publish(run, NAME, dry_run=True).commit is None


# Files that are none


def test_links_pipes_and_second_names_are_refused(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "id_rsa"
    elsewhere.write_text("never to be seen")
    file = run.policy_dir / "vocab.txt"
    for make, said in (
        (lambda: file.symlink_to(elsewhere), "is a link or no plain file"),
        (lambda: file.symlink_to(tmp_path), "is a link or no plain file"),
        (lambda: file.symlink_to(tmp_path / "nowhere"), "is a link or no plain file"),
        (lambda: os.link(elsewhere, file), "is a hard link, 2 names for one file"),
        (lambda: os.mkfifo(file), "is a link or no plain file"),
        (file.mkdir, "is a link or no plain file"),
    ):
        make()
        with pytest.raises(PublishError, match=f"vocab.txt {said}"):
            publish(run, NAME, dry_run=True)
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
    os.rename(run.policy_dir, tmp_path / "moved")
    run.policy_dir.symlink_to(tmp_path / "moved")
    with pytest.raises(
        PublishError, match=r"policy is a link; only what lies in the run's own folder"
    ):
        publish(run, NAME, dry_run=True)


@pytest.mark.parametrize(
    "name", ["recipe.yaml", "manifest.json", "evaluation.json", "metrics.jsonl"]
)
def test_what_is_written_anew_is_read_from_no_link(name: str, run: Run, tmp_path: Path) -> None:
    """A recipe that is a link would publish whatever YAML of yours it leads to."""
    file, elsewhere = run.path / name, tmp_path / "elsewhere"
    if not file.exists():
        file.write_text("")
    shutil.copy(file, elsewhere)
    os.link(file, tmp_path / "second")
    with pytest.raises(PublishError, match=f"{name} is a hard link, 2 names for one file"):
        publish(run, NAME, dry_run=True)
    file.unlink()
    file.symlink_to(elsewhere)
    with pytest.raises(PublishError, match=f"{name} is a link or no plain file"):
        publish(run, NAME, dry_run=True)


def test_a_file_with_a_hole_takes_no_disk(run: Run) -> None:
    with open(run.policy_dir / "model.safetensors", "r+b") as weights:
        weights.truncate(1 << 40)
    with pytest.raises(
        PublishError, match=r"model.safetensors is not safetensors: 1,099,511,627,776 bytes where"
    ):
        publish(run, NAME, dry_run=True)
    with open(run.policy_dir / "tokenizer.json", "r+b") as text:
        text.truncate(1 << 40)
    (run.policy_dir / "model.safetensors").unlink()
    with pytest.raises(
        PublishError,
        match=r"tokenizer.json has 1,099,511,627,776 bytes; a file of this name has at most",
    ):
        publish(run, NAME, dry_run=True)


def test_what_changes_while_it_is_read_is_not_sent(
    run: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    """The seal says what was written; the copy that was checked is what is sent, whatever happens
    to the run since.
    """
    from llmpolicy.publish import artefact
    from llmpolicy.run.sealed import seal

    seal(run.policy_dir)
    folder = tmp_path / "staged"
    folder.mkdir()
    sent = {file.name: file.sha256 for file in build(run, choose(run), NAME, folder)}
    chosen = choose(run)
    (run.policy_dir / "chat_template.jinja").write_text("another")
    assert sent == {file.name: file.sha256 for file in artefact.describe(folder)}
    (tmp_path / "again").mkdir()
    with pytest.raises(PublishError, match=r"chat_template.jinja changed while it was read"):
        build(run, chosen, NAME, tmp_path / "again")

    def check_and_write(folder: Path, *_: Any, **__: Any) -> None:
        (folder / "README.md").write_text("written after the check")

    seal(run.policy_dir)
    monkeypatch.setattr(artefact, "check_folder", check_and_write)
    (tmp_path / "third").mkdir()
    with pytest.raises(PublishError, match=r"changed while it was checked"):
        build(run, choose(run), NAME, tmp_path / "third")


# Figures that are none


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_that_is_none_is_refused_by_its_key(figure: float, run: Run) -> None:
    run.write_evaluation({**EVALUATION, "kl_to_base": {"all": [0.1, figure]}})
    with pytest.raises(PublishError, match=r"evaluation.json: kl_to_base.all.1 is NaN or infinite"):
        publish(run, NAME, dry_run=True)
    run.write_evaluation(EVALUATION)
    run.manifest["best"] = {"accuracy": figure}
    with pytest.raises(
        PublishError, match=r"llmpolicy_manifest.json: run.best.accuracy is NaN or infinite"
    ):
        publish(run, NAME, dry_run=True)


def test_a_setting_that_is_no_number_is_refused_and_one_without_bound_is_not(run: Run) -> None:
    config = run.policy_dir / "config.json"
    plain = config.read_text()
    for figure, refused in (("NaN", True), ("Infinity", False), ("-Infinity", False)):
        config.write_text(plain.replace("{", '{"time_step_limit": [0.0, ' + figure + "],", 1))
        if refused:
            with pytest.raises(PublishError, match="config.json is not json: it holds NaN"):
                publish(run, NAME, dry_run=True)
        else:
            publish(run, NAME, dry_run=True)


def test_a_logged_figure_longer_than_a_float_is_left_out_of_the_curve(run: Run) -> None:
    line = {"mode": "train", "step": 1, "reward": 10**400}
    (run.path / "metrics.jsonl").write_text(
        json.dumps(line) + "\n" + json.dumps({**line, "step": 2, "reward": 0.5}) + "\n"
    )
    publish(run, NAME, dry_run=True)


def test_the_file_that_holds_a_secret_is_named_and_not_the_card_that_repeats_it(run: Run) -> None:
    run.recipe["task"][0]["system"] = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
    with pytest.raises(
        PublishError, match=r"^(recipe.yaml|llmpolicy_manifest.json) holds what looks like a secret"
    ):
        publish(run, NAME, dry_run=True)


KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2]


@pytest.mark.parametrize("kind", [*KINDS, torch.float8_e4m3fn], ids=str)
def test_weights_with_a_number_that_is_none_are_found_in_every_kind(
    kind: torch.dtype, tmp_path: Path
) -> None:
    largest = torch.tensor(
        [torch.finfo(kind).max, torch.finfo(kind).min, 0.0] * 11, dtype=torch.float64
    ).to(kind)
    save_file({"good": largest, "i": torch.full((9,), -1)}, tmp_path / "good.safetensors")
    assert not_finite(tmp_path / "good.safetensors") is None
    for bad in (float("nan"), *((float("inf"), -float("inf")) if kind in KINDS else ())):
        tensor = torch.cat([largest.double(), torch.tensor([bad], dtype=torch.float64)]).to(kind)
        save_file({"good": largest, "layer.weight": tensor}, tmp_path / "bad.safetensors")
        assert not_finite(tmp_path / "bad.safetensors") == "layer.weight"


def test_weights_that_are_no_numbers_are_refused(run: Run) -> None:
    file = run.policy_dir / "model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[-1] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(PublishError, match=rf"model.safetensors: {name} holds NaN or infinity"):
        publish(run, NAME, dry_run=True)


@pytest.mark.parametrize(
    "place", [0, 100, (1 << 22) - 20, (1 << 22) - 1, 1 << 22, (1 << 22) + 7, 3 << 22]
)
def test_text_among_weights_is_read_across_blocks(place: int, tmp_path: Path) -> None:
    text = b"a text of just some fifty characters, to be seen."
    content = bytearray(b"\x00\x3f\x80" * (1 << 22))
    content[place : place + len(text)] = text
    (tmp_path / "x").write_bytes(bytes(content[: place + len(text)]) if place % 2 else content)
    assert [line for line in text_in(tmp_path / "x").split("\n") if text.decode() in line]
