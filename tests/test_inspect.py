"""What a policy thinks of one prompt, against transformers' own forward pass."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from llmpolicy import Run
from llmpolicy.bundled import MODEL
from llmpolicy.cli import app
from llmpolicy.errors import PolicyError
from llmpolicy.session import train_recipe
from llmpolicy.session.inspect import inspect_model

PROMPT, COMPLETION = "17+25=", "42"


def log_probs(folder: Path) -> tuple[torch.Tensor, list[float], Any]:
    """The log-probabilities of all next tokens, and of those of the completion, by hand."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    more = tokenizer(COMPLETION, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([[*ids, *more]])).logits[0].log_softmax(-1)  # (T, V)
    chosen = [float(logits[len(ids) - 1 + t, token]) for t, token in enumerate(more)]
    return logits[len(ids) - 1], chosen, tokenizer


def test_a_model_alone() -> None:
    found = inspect_model("bundled", PROMPT, COMPLETION)
    nexts, chosen, tokenizer = log_probs(MODEL)
    assert [token.text for token in found.completion] == ["4", "2"]
    assert [token.log_prob for token in found.completion] == pytest.approx(chosen, abs=1e-4)
    best = nexts.topk(10)
    assert [token.log_prob for token in found.next] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert found.next[0].text == tokenizer.decode([int(best.indices[0])])
    assert found.entropy == pytest.approx(float(-(nexts.exp() * nexts).sum()), abs=1e-4)
    assert not found.has_base and "base" not in str(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = ["grpo.max_steps=2", "grpo.per_device_train_batch_size=64", "evaluate.n=4"]
    out = tmp_path_factory.mktemp("inspect") / "run"
    return train_recipe("quickstart", small, out=out, say=lambda _: None)


def test_a_run_beside_the_policy_that_it_started_from(run: Run) -> None:
    found = inspect_model(str(run.path), PROMPT, COMPLETION)
    for folder, name in ((run.policy_dir, "log_prob"), (MODEL, "base")):
        _, chosen, _ = log_probs(folder)
        assert [getattr(token, name) for token in found.completion] == pytest.approx(
            chosen, abs=1e-4
        )
    assert any(token.log_prob != token.base for token in found.completion)
    lines = str(found).splitlines()
    assert lines[0] == f"prompt: {PROMPT}" and lines[3].split() == ["policy", "base", "token"]


def test_the_likeliest_completion_of_a_message(tmp_path: Path) -> None:
    words = ["inspect", "bundled", "--prompt", "17+25", "--chat", "--json", f"{tmp_path}/f"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.exception
    plain = json.loads((tmp_path / "f").read_text())
    assert plain["prompt"] == "<|user|>17+25<|end|><|assistant|>"
    assert plain["completion"][-1]["text"] == "<|end|>"
    assert sum(math.exp(token["log_prob"]) for token in plain["next"]) <= 1 + 1e-6


def test_bad_input_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no model at 'nothere'"):
        inspect_model("nothere", PROMPT)
    Run.create(tmp_path / "run", {"name": "x"}).finish("failed")
    with pytest.raises(PolicyError, match="has no policy to look at .the run's status: failed"):
        inspect_model(str(tmp_path / "run"), PROMPT)
    for empty in ("", "\udcff"):
        with pytest.raises(PolicyError, match="--completion '.*' has no token"):
            inspect_model("bundled", PROMPT, empty)
