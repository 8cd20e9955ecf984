"""Publishing: the list leaves this machine and nothing else, in exactly one commit, whatever fails
on the way.
"""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmpolicy.errors import PublishError
from llmpolicy.publish import publish, publish_run
from llmpolicy.publish.artefact import build
from llmpolicy.publish.base import base_hub_id
from llmpolicy.publish.choice import choose
from llmpolicy.publish.files import check_folder
from llmpolicy.run import Run
from tests.hub_client import NAME, ROOT, Client, environment, start
from tests.hub_server import HubServer, plain
from tests.models import model, tokenizer

HUB_ID = "somebody/tiny-llama"
WRITTEN = {"README.md", "recipe.yaml", "evaluation.json", "llmpolicy_manifest.json"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
ADAPTER = {"adapter_model.safetensors", "adapter_config.json"} | TOKENIZER | WRITTEN
MODEL = {"model.safetensors", "config.json", "generation_config.json"} | TOKENIZER | WRITTEN
SENTINEL = b"never-to-be-seen-elsewhere"
EVALUATION = {"schema": 1, "n": 300, "accuracy": {"value": 0.82, "low": 0.772, "high": 0.86}}


@pytest.fixture(scope="module")
def served() -> Iterator[HubServer]:
    hub = HubServer()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def send(served: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = start(served, tmp_path_factory.mktemp("home"), HF_HUB_DISABLE_XET="1")
    yield client
    assert client.process.stdin
    client.process.stdin.close()
    assert client.process.wait(20) == 0


@pytest.fixture
def hub(served: HubServer) -> HubServer:
    """The server, empty again."""
    served.repos, served.objects, served.requests, served.faults = {}, {}, [], []
    return served


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    model("llama", seed=1).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n")
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes the model, saved as PEFT saves it: with the base's folder in its
    configuration.
    """
    folder = tmp_path_factory.mktemp("trained") / "adapter"
    lora = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    torch.manual_seed(3)
    policy = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    policy.save_pretrained(folder, save_embedding_layers=False)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def make_run(
    path: Path, base: Path, weights: Path, best: Path | None = None, **model_block: Any
) -> Run:
    recipe = {
        "name": "tiny",
        "model": {"path": str(base), "hub_id": None, "revision": None, "note": None, **model_block},
        "task": [
            {
                "hub": "openai/gsm8k",
                "config": "main",
                "system": "Answer with `####` and | no <b>fuss</b>.",
            }
        ],
        "rewards": [{"fn": "exact:match", "weight": 1.0}],
        "grpo": {"max_steps": 3},
    }
    rewards = [
        {"fn": "exact:match", "weight": 1.0, "sha256": "ab" * 32},
        {"fn": str(path / "right.py:right"), "weight": None, "sha256": None},
    ]
    run = Run.create(
        path, recipe, rewards=rewards, base_dir=str(path.parent), log=f"see {path}/log.txt"
    )
    shutil.copytree(weights, run.policy_dir)
    if best:
        shutil.copytree(best, run.best_dir)
    run.write_evaluation(EVALUATION)
    run.finish("finished", steps=3)
    return run


@pytest.fixture
def run(tmp_path: Path, base: Path, adapter: Path) -> Run:
    """A run that trained an adapter of a base that the Hub knows."""
    return make_run(tmp_path / "run", base, adapter, hub_id=HUB_ID, revision="v1.0")


def log_probs(language_model: Any) -> torch.Tensor:
    ids = torch.arange(5, 45).view(2, 20)
    with torch.no_grad():
        return language_model.eval()(ids).logits.log_softmax(-1)  # (B, T, V)


def trained_log_probs(base: Path, adapter: Path) -> torch.Tensor:
    return log_probs(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter))


def commits(hub: HubServer) -> list[str]:
    """The commits after the one that comes with a new repository."""
    return [commit.oid for commit in hub.repos[NAME].commits[1:]]


def staged(run: Run, folder: Path, what: str | None = None, which: str | None = None) -> Path:
    folder.mkdir()
    build(run, choose(run, what, which), NAME, folder)
    return folder


# What leaves, and what arrives


def test_an_adapter_arrives_as_it_was_trained(
    run: Run, hub: HubServer, send: Client, base: Path, adapter: Path, tmp_path: Path
) -> None:
    url, commit, files = send(run=run.path)
    repo = hub.repos[NAME]
    assert url == f"{hub.url}/{NAME}"
    assert commits(hub) == [commit]
    assert repo.private
    assert set(files) == ADAPTER
    assert {
        name: blob.sha256 for name, blob in repo.tree.items() if name != ".gitattributes"
    } == files
    weights = repo.tree["adapter_model.safetensors"].content
    assert weights == (adapter / "adapter_model.safetensors").read_bytes()
    send(download=tmp_path / "down")
    head = yaml.safe_load((tmp_path / "down" / "README.md").read_text().split("---\n")[1])
    assert (head["license"], head["base_model"]) == ("apache-2.0", HUB_ID)
    down = AutoModelForCausalLM.from_pretrained(base)
    there = log_probs(PeftModel.from_pretrained(down, tmp_path / "down"))
    assert torch.equal(there, trained_log_probs(base, adapter))
    assert not torch.allclose(
        there, log_probs(AutoModelForCausalLM.from_pretrained(base)), atol=0.1
    )


def test_the_token_is_asked_of_every_call_and_files_go_before_the_commit(
    run: Run, hub: HubServer, send: Client
) -> None:
    send(run=run.path)
    routes = [route for route, *_ in hub.requests]
    assert "unknown" not in routes
    assert (
        routes.index("create")
        < routes.index("preupload")
        < routes.index("put")
        < routes.index("commit")
    )
    assert {token for route, _, _, token in hub.requests if route != "put"} == {"Bearer dummy"}


def test_full_weights_arrive_shard_by_shard(
    base: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    trained = AutoModelForCausalLM.from_pretrained(base)
    trained.save_pretrained(tmp_path / "full", max_shard_size="20KB")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "full")
    _, _, files = send(run=make_run(tmp_path / "run", base, tmp_path / "full").path, private=False)
    shards = {name for name in files if name.startswith("model-")}
    assert len(shards) >= 2
    assert set(files) == MODEL - {"model.safetensors"} | shards | {"model.safetensors.index.json"}
    assert not hub.repos[NAME].private
    send(download=tmp_path / "down")
    assert torch.equal(
        log_probs(AutoModelForCausalLM.from_pretrained(tmp_path / "down")), log_probs(trained)
    )
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "down")("12+3").input_ids
        == tokenizer()("12+3").input_ids
    )


def test_merged_weights_keep_the_log_probs(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = staged(make_run(tmp_path / "run", base, adapter), tmp_path / "staged")
    there = log_probs(AutoModelForCausalLM.from_pretrained(folder))
    assert torch.allclose(there, trained_log_probs(base, adapter), atol=1e-4)
    assert not torch.allclose(
        there, log_probs(AutoModelForCausalLM.from_pretrained(base)), atol=0.1
    )


@pytest.mark.slow
def test_merged_weights_arrive_with_the_same_log_probs(
    base: Path, adapter: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", base, adapter)
    _, commit, files = send(run=run.path)
    assert commits(hub) == [commit]
    assert set(files) == MODEL
    send(download=tmp_path / "down")
    there = log_probs(AutoModelForCausalLM.from_pretrained(tmp_path / "down"))
    assert torch.allclose(there, trained_log_probs(base, adapter), atol=1e-4)


def test_nothing_outside_the_list_leaves(run: Run, hub: HubServer, send: Client) -> None:
    for name in (
        "training_args.bin",
        ".env",
        "pytorch_model.bin",
        "optimizer.pt",
        "notes.txt",
        "modeling_tiny.py",
    ):
        (run.policy_dir / name).write_bytes(SENTINEL)
    for name in ("README.md", "recipe.yaml", "evaluation.json"):
        (run.policy_dir / name).write_bytes(SENTINEL)
    (run.path / "rollouts" / "train-000001-00.parquet").write_bytes(SENTINEL)
    (run.policy_dir / "rollouts").mkdir()
    (run.policy_dir / "rollouts" / "train.parquet").write_bytes(SENTINEL)
    (run.policy_dir / "passwords").symlink_to("/etc/passwd")
    _, _, files = send(run=run.path)
    tree = hub.repos[NAME].tree
    assert set(tree) - {".gitattributes"} == set(files) == ADAPTER
    assert not [name for name, blob in tree.items() if SENTINEL in (blob.content or b"")]
    assert not [oid for oid, content in hub.objects.items() if SENTINEL in content]


def test_further_chat_templates_arrive(
    run: Run, base: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    trained = AutoTokenizer.from_pretrained(base)
    trained.chat_template = {
        "default": trained.chat_template,
        "tool_use": "{{ messages[0]['content'] }} with tools",
    }
    trained.save_pretrained(run.policy_dir)
    further = run.policy_dir / "additional_chat_templates"
    (further / "notes.txt").write_bytes(SENTINEL)
    (further / ".hidden.jinja").write_bytes(SENTINEL)
    _, _, files = send(run=run.path)
    assert {name for name in files if "/" in name} == {"additional_chat_templates/tool_use.jinja"}
    send(download=tmp_path / "down")
    there = AutoTokenizer.from_pretrained(tmp_path / "down")
    assert there.chat_template == trained.chat_template
    asked = [{"role": "user", "content": "12"}]
    assert (
        there.apply_chat_template(asked, chat_template="tool_use", tokenize=False)
        == "12 with tools"
    )
    shutil.rmtree(further)
    send(run=run.path)
    assert not [name for name in hub.repos[NAME].tree if "/" in name]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tool_use.jinja").write_bytes(SENTINEL)
    further.symlink_to(tmp_path / "elsewhere")
    assert not [name for name in send(run=run.path)[2] if "/" in name]
    further.unlink()
    further.mkdir()
    (further / "tool_use.jinja").symlink_to(tmp_path / "elsewhere" / "tool_use.jinja")
    assert "tool_use.jinja is a link" in send(run=run.path)["refused"]


def test_a_link_under_a_listed_name_is_refused(run: Run, hub: HubServer, send: Client) -> None:
    (run.policy_dir / "vocab.txt").symlink_to("/etc/passwd")
    assert "vocab.txt is a link" in send(run=run.path)["refused"]
    assert hub.requests == []


def test_a_dry_run_sends_nothing_and_lists_what_would_be_sent(
    run: Run, hub: HubServer, send: Client
) -> None:
    url, commit, dry = send(run=run.path, dry_run=True)
    assert hub.requests == []
    assert (url, commit) == (f"{hub.url}/{NAME}", None)
    assert send(run=run.path)[2] == dry


def test_publishing_again_makes_no_second_commit(run: Run, hub: HubServer, send: Client) -> None:
    first, second = send(run=run.path), send(run=run.path)
    assert first == second
    assert commits(hub) == [first[1]]


def test_a_later_publication_leaves_no_file_of_an_earlier_one(
    run: Run, base: Path, hub: HubServer, send: Client, tmp_path: Path
) -> None:
    send(run=run.path)
    hub.repos[NAME].tree["picture.png"] = plain(b"the owner's own")
    _, commit, _ = send(run=make_run(tmp_path / "full", base, base).path)
    assert len(commits(hub)) == 2
    assert commits(hub)[-1] == commit
    assert set(hub.repos[NAME].tree) == MODEL | {".gitattributes", "picture.png"}


# What is checked before anything leaves


def test_the_value_of_a_secret_variable_is_found(run: Run, tmp_path: Path) -> None:
    folder = staged(run, tmp_path / "staged")
    (folder / "chat_template.jinja").write_text("{# a-key-of-no-known-form #}")
    check_folder(
        folder,
        "adapter",
        {"WANDB_API_KEY": "something else, long enough", "HOME": "a-key-of-no-known-form"},
    )
    with pytest.raises(
        PublishError, match=r"chat_template.jinja holds the value of \$WANDB_API_KEY"
    ):
        check_folder(folder, "adapter", {"WANDB_API_KEY": "a-key-of-no-known-form"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("adapter_model.safetensors", b"\x80\x04pickle.", "is not safetensors"),
        ("tokenizer_config.json", b"SECRET=1", "is not json"),
        ("notes.txt", b"", "is not on the list"),
        (".env", b"", "is not on the list"),
        ("model.safetensors", b"", "is not on the list"),
    ],
)
def test_the_last_look_before_sending(
    name: str, content: bytes, said: str, run: Run, tmp_path: Path
) -> None:
    folder = staged(run, tmp_path / "staged")
    check_folder(folder, "adapter")
    (folder / name).write_bytes(content)
    with pytest.raises(PublishError, match=rf"{name} {said}"):
        check_folder(folder, "adapter")


def test_no_folder_of_this_machine_is_published(run: Run, adapter: Path, tmp_path: Path) -> None:
    folder = staged(run, tmp_path / "staged")
    assert (
        str(adapter.parent.parent.parent).encode() in (adapter / "adapter_config.json").read_bytes()
    )
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
        assert str(adapter.parent.parent.parent).encode() not in path.read_bytes(), path.name
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (HUB_ID, "v1.0")
    manifest = json.loads((folder / "llmpolicy_manifest.json").read_text())
    assert manifest["run"]["log"] == "see log.txt"
    assert manifest["schema"] == 1


def test_rows_given_in_python_are_counted_not_published(run: Run, tmp_path: Path) -> None:
    run.recipe["task"] = [{"rows": [{"prompt": SENTINEL.decode()}, {"prompt": "x"}]}]
    folder = staged(run, tmp_path / "staged")
    assert not [path.name for path in folder.iterdir() if SENTINEL in path.read_bytes()]
    assert (
        yaml.safe_load((folder / "recipe.yaml").read_text())["task"][0]["rows"]
        == "2 rows given in Python"
    )


@pytest.mark.parametrize(
    ("task", "asked", "shown"),
    [
        ({"hub": "openai/gsm8k"}, None, True),
        ({"reasoning_gym": "gcd"}, None, True),
        ({"generator": "llmpolicy.bundled.addition:questions"}, None, True),
        ({"file": "rows.jsonl"}, None, False),
        ({"rows": [{"prompt": "x"}]}, None, False),
        ({"generator": "mine.py:questions"}, None, False),
        ({"file": "rows.jsonl"}, True, True),
        ({"hub": "openai/gsm8k"}, False, False),
    ],
)
def test_examples_are_shown_where_the_rows_are_not_ones_own(
    task: dict[str, Any], asked: bool | None, shown: bool, run: Run, tmp_path: Path
) -> None:
    run.recipe["task"] = [task]
    examples = [{"prompt": SENTINEL.decode(), "completion": "x", "right": True}]
    run.write_evaluation(
        {**EVALUATION, "examples": examples, "base": {**EVALUATION, "examples": examples}}
    )
    (tmp_path / "staged").mkdir()
    build(run, choose(run, samples=asked), NAME, tmp_path / "staged")
    holding = [
        path.name for path in (tmp_path / "staged").iterdir() if SENTINEL in path.read_bytes()
    ]
    assert holding == (["README.md"] if shown else [])
    assert json.loads((tmp_path / "staged" / "evaluation.json").read_text()) == {
        **EVALUATION,
        "base": EVALUATION,
    }


def test_a_missing_shard_is_refused(base: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(
        tmp_path / "full", max_shard_size="20KB"
    )
    lost = sorted((tmp_path / "full").glob("model-*"))[1]
    lost.unlink()
    with pytest.raises(PublishError, match=f"has no {lost.name}"):
        publish(make_run(tmp_path / "run", base, tmp_path / "full"), NAME, dry_run=True)


# Which weights, in which form


def test_the_form_and_the_weights_that_are_chosen(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    known = make_run(tmp_path / "known", base, adapter, hub_id=HUB_ID)
    unknown = make_run(tmp_path / "unknown", base, adapter)
    full = make_run(tmp_path / "full", base, base, hub_id=HUB_ID)
    assert [choose(known).what, choose(known, "merged").what, choose(unknown).what] == [
        "adapter",
        "merged",
        "merged",
    ]
    assert (choose(full).what, choose(full).trained) == ("merged", "full")
    with pytest.raises(
        PublishError, match="its base has no model.hub_id; publish the merged weights"
    ):
        choose(unknown, "adapter")
    with pytest.raises(PublishError, match="trained full weights"):
        choose(full, "adapter")
    with pytest.raises(PublishError, match="did you mean 'adapter'"):
        choose(known, "adaptor")
    with pytest.raises(PublishError, match="has no best/ weights"):
        choose(known, which="best")


def test_the_best_weights_only_go_with_figures_that_are_theirs(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    same = make_run(tmp_path / "same", base, adapter, best=adapter, hub_id=HUB_ID)
    assert (choose(same).which, choose(same).measured_on_last) == ("best", False)
    bare = make_run(tmp_path / "other", base, adapter, best=adapter, hub_id=HUB_ID)
    save_file({"a": torch.zeros(2)}, bare.best_dir / "adapter_model.safetensors")
    assert choose(bare).which == "last"
    asked = choose(bare, which="best")
    assert (asked.which, asked.source, asked.measured_on_last) == ("best", bare.best_dir, True)
    bare.update_manifest(best={"step": 2, "accuracy": 0.9})
    text = (staged(bare, tmp_path / "staged", which="best") / "README.md").read_text()
    assert (
        "**Measured on the last step, not on the published weights** (step 2; its accuracy during"
        " training was 90.0 %)" in text
    )
    assert "model-index" not in text
    (bare.best_dir / "evaluation.json").write_text(json.dumps({**EVALUATION, "n": 11}))
    assert (choose(bare).which, choose(bare).evaluation["n"], choose(bare).measured_on_last) == (
        "best",
        11,
        False,
    )  # type: ignore[index]


def test_a_path_that_only_looks_like_a_hub_id_is_none(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    assert base_hub_id(make_run(tmp_path / "a", Path("models/not-made-yet"), adapter)) is None
    assert base_hub_id(make_run(tmp_path / "b", base, adapter)) is None


@pytest.mark.parametrize("repo", ["tiny", "me/tiny/x", "me/ti ny", "me/", "me/-tiny"])
def test_a_wrong_name_is_refused(repo: str, run: Run) -> None:
    with pytest.raises(PublishError, match="--repo"):
        publish(run, repo, dry_run=True)


def test_what_cannot_be_published_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Run.create(tmp_path / "cartpole", {"name": "cartpole", "environment": {}})
    with pytest.raises(PublishError, match="which has one form; leave out --what merged"):
        publish(small, NAME, dry_run=True, what="merged")
    with pytest.raises(PublishError, match="has no policy/ weights"):
        publish(small, NAME, dry_run=True)
    monkeypatch.setattr("llmpolicy.publish.push.get_token", lambda: None)
    with pytest.raises(PublishError, match="no token for the Hub"):
        publish(run, NAME)
    shutil.rmtree(run.policy_dir)
    with pytest.raises(
        PublishError, match=r"has no policy/ weights to publish \(the run's status: finished\)"
    ):
        publish(run, NAME, dry_run=True)


# The doors


def test_the_verb_prints_every_file_with_its_hash(run: Run) -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    published = publish_run(run.path, NAME, dry_run=True, console=console)
    text = console.export_text()
    assert {file.name for file in published.files} == ADAPTER
    assert not [
        file
        for file in published.files
        if not all(word in text for word in (file.name, f"{file.size:,}", file.sha256))
    ]
    assert "dry run: nothing was sent" in text


def test_the_script_is_the_same_door(run: Run, hub: HubServer, tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            str(ROOT / "scripts" / "push_to_hub.py"),
            str(run.path),
            *arguments,
        ]
        return subprocess.run(
            command, env=environment(hub, tmp_path), capture_output=True, text=True
        )

    done = call("--repo", NAME, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "adapter_model.safetensors" in done.stdout
    failed = call("--repo", "tiny")
    assert (failed.returncode, failed.stderr.count("\n"), failed.stderr[:6]) == (2, 1, "error:")
    assert hub.requests == []
