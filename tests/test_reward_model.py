"""A reward model: its scores are those of a plain forward pass, and its report says how far they
can be believed.
"""

import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.evaluation.calibration import measured, table
from llmpolicy.policies import rewarder as scoring
from llmpolicy.recipe import make_recipe
from llmpolicy.rewards import RewardError, Rewards, RewardSpec, Sample
from llmpolicy.run.sealed import seal
from llmpolicy.stages.reward_model import begin, train_reward_model
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import Pair, Pairs
from reward_fns import reward_model
from scripts.zoo import build, cases
from tests.models import model, tokenizer

REPLIES = ("4", "a longer reply", "5", "", "22")


def write(folder: Path, *, labels: int = 1, chat: bool = True, **config: Any) -> str:
    """A reward model with random weights, and dropout that must not act."""
    words = tokenizer(chat=chat)
    settings = model("llama", **config).config
    settings.update({"num_labels": labels, "attention_dropout": 0.3})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = AutoModelForSequenceClassification.from_config(settings)
    made.save_pretrained(str(folder))
    words.save_pretrained(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("reward"))


def by_hand(folder: str, text: str) -> float:
    """One row without padding through the model alone: the head on the last token."""
    made = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").eval()
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        hidden = made.model(torch.tensor([ids])).last_hidden_state
        return float(made.score(hidden)[0, -1, 0])


def chat_text(reply: str, question: str = "2+2") -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\n"


def messages(question: str = "2+2") -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.mark.parametrize("reply", REPLIES)
def test_a_chat_is_scored_as_a_plain_forward_pass_scores_it(saved: str, reply: str) -> None:
    found = reward_model.score(reply, messages=messages(), model=saved)
    assert float(found) == pytest.approx(by_hand(saved, chat_text(reply)), abs=1e-5)


def test_a_plain_prompt_is_the_text_with_the_end_token(saved: str) -> None:
    found = reward_model.score("4", prompt="2+2=", model=saved)
    assert float(found) == pytest.approx(by_hand(saved, "2+2=4<|im_end|>"), abs=1e-5)


def test_a_prefill_is_continued(saved: str) -> None:
    begun = [*messages(), {"role": "assistant", "content": "It is "}]
    one = reward_model.score("4", messages=begun, model=saved)
    assert float(one) == pytest.approx(by_hand(saved, chat_text("It is 4")), abs=1e-5)


@pytest.mark.parametrize("style", ["single", "group", "trl"])
@pytest.mark.parametrize("chat", [True, False])
def test_all_styles_and_all_orders_of_a_batch_give_the_same_scores(
    saved: str, style: Any, chat: bool
) -> None:
    rewards = Rewards([RewardSpec("reward_model:score", args={"model": saved}, style=style)])
    questions = ("2+2", "a much longer question, so that rows are padded", "3")
    samples = [
        Sample(reply, {}, question, messages(question) if chat else None)
        for question in questions
        for reply in REPLIES
    ]
    alone = [
        float(reward_model.score(s.completion, s.prompt, s.messages, model=saved)) for s in samples
    ]
    assert [row.value for row in rewards.score(samples, len(REPLIES))] == pytest.approx(
        alone, abs=1e-5
    )
    order = list(range(len(samples)))
    if style != "group":
        random.Random(0).shuffle(order)
    shuffled = rewards.score([samples[i] for i in order], len(REPLIES))
    assert [row.value for row in shuffled] == pytest.approx([alone[i] for i in order], abs=1e-5)


def test_many_texts_go_in_several_passes(saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"completions": list(REPLIES), "prompts": [messages()] * len(REPLIES), "model": saved}
    whole = reward_model.score(**asked)
    monkeypatch.setattr(scoring, "TOKENS_AT_ONCE", 1)
    assert [float(s) for s in reward_model.score(**asked)] == pytest.approx(
        [float(s) for s in whole], abs=1e-5
    )


def test_a_text_that_is_too_long_loses_its_beginning_and_the_score_says_so(saved: str) -> None:
    text = chat_text("4")
    count = len(tokenizer()(text, add_special_tokens=False)["input_ids"])
    found = reward_model.score("4", messages=messages(), model=saved, max_length=count - 3)
    assert found.why == f"the first 3 of {count} tokens were cut"
    assert reward_model.score("4", messages=messages(), model=saved, max_length=count).why == ""


def test_scoring_is_deterministic_and_leaves_the_random_state_alone(saved: str) -> None:
    scoring.load.cache_clear()
    before = torch.get_rng_state()
    first = reward_model.score("4", messages=messages(), model=saved)
    assert torch.equal(before, torch.get_rng_state())
    assert reward_model.score("4", messages=messages(), model=saved) == first
    assert scoring.load.cache_info().misses == 1


def test_a_model_that_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="has 2 labels; expected a reward model with one"):
        reward_model.score("4", "2+2=", model=write(tmp_path / "two", labels=2))
    model("llama").save_pretrained(tmp_path / "language")
    tokenizer().save_pretrained(tmp_path / "language")
    with pytest.raises(RewardError, match="expected"):
        reward_model.score("4", "2+2=", model=str(tmp_path / "language"))
    bare = model("llama")
    bare.config.num_labels = 1
    bare.save_pretrained(tmp_path / "bare")
    tokenizer().save_pretrained(tmp_path / "bare")
    with pytest.raises(RewardError, match=r"no weights for score\.weight"):
        reward_model.score("4", "2+2=", model=str(tmp_path / "bare"))
    with pytest.raises(RewardError, match="cannot load the reward model"):
        reward_model.score("4", "2+2=", model=str(tmp_path / "nowhere"))
    with pytest.raises(RewardError, match="has no chat template"):
        reward_model.score("4", messages=messages(), model=write(tmp_path / "plain", chat=False))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=60))
def test_the_figures_of_a_reward_model_agree_with_a_count(pairs: list[tuple[float, float]]) -> None:
    chosen, rejected = [c for c, _ in pairs], [r for _, r in pairs]
    found = measured(chosen, rejected)
    assert found.accuracy.value == pytest.approx(sum(c > r for c, r in pairs) / len(pairs))
    assert sum(one.n for one in found.bins) == len(pairs)
    assert sum(one.n * one.accuracy.value for one in found.bins) == pytest.approx(
        found.accuracy.value * len(pairs)
    )
    losses = [math.log(1 + math.exp(r - c)) for c, r in pairs]
    assert found.log_loss == pytest.approx(sum(losses) / len(pairs))
    assert all(a.high <= b.low for a, b in zip(found.bins, found.bins[1:], strict=False))


def test_a_calibrated_reward_model_has_a_small_calibration_error_and_a_bold_one_a_large_one() -> (
    None
):
    draw = random.Random(0)
    sizes = [draw.uniform(0, 4) for _ in range(20_000)]
    signed = [size if draw.random() < 1 / (1 + math.exp(-size)) else -size for size in sizes]
    zeros = [0.0] * len(signed)
    assert measured(signed, zeros).calibration_error < 0.01
    assert measured([3 * margin for margin in signed], zeros).calibration_error > 0.1


def pairs(n: int = 40) -> Pairs:
    """A longer reply is preferred; plain prompts."""
    made = [Pair(f"{i}?", "yes" * 3, "no", f"{i}?") for i in range(n)]
    return Pairs(made[8:], made[:8], dropped=1)


@pytest.mark.parametrize("lora", [None, {"r": 4, "lora_alpha": 8}])
def test_training_learns_the_preference_and_writes_a_normal_model(
    tmp_path: Path, lora: Any
) -> None:
    model("llama", initializer_range=0.05).save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    steps = {"max_steps": 30, "learning_rate": 1e-2, "per_device_train_batch_size": 8}
    out = tmp_path / "out"
    args = stage_config("reward_model", steps, folder=out, seed=0, target="cpu")
    assert args.center_rewards_coefficient == 0.01
    made, words = begin(str(tmp_path / "base"), seed=0)
    report = train_reward_model(made, words, pairs(), args, out, {"made_from": "x"}, lora=lora)
    assert report["train"]["n"] == 32 and report["dropped"] == 1
    assert report["held_out"]["accuracy"]["value"] == 1.0
    again = AutoModelForSequenceClassification.from_pretrained(out)
    assert again.config.num_labels == 1
    assert "accuracy 1.000 [0.676, 1.000]" in table(report)
    better, worse = (
        reward_model.score(reply, "99?", model=str(out)) for reply in ("yes" * 3, "no")
    )
    assert float(better) > float(worse)
    # Centred: the mean over both replies is small beside the margin between them.
    assert abs(report["held_out"]["mean"]) < report["held_out"]["std"]


def start(folder: Path, family: str = "llama") -> tuple[Any, Any, Any]:
    """A small base with the head of a reward model, its tokenizer, and the arguments of a short
    training.
    """
    build.build(build.small(family)).save_pretrained(folder / "base")
    cases.words().save_pretrained(folder / "base")
    steps = {"max_steps": 2, "learning_rate": 1e-2, "per_device_train_batch_size": 4}
    return *begin(str(folder / "base"), seed=0), stage_config(
        "reward_model", steps, folder=folder / "out", seed=0, target="cpu"
    )


@pytest.mark.parametrize(
    ("family", "lora", "sentence"),
    [
        ("zamba", {"r": 4}, "shared by several layers, each with its own part of the adapter"),
        (
            "gpt2",
            {"r": 4, "target_modules": ["q_proj"]},
            r"^reward_model: TRL cannot begin with \S+ \(.*target",
        ),
    ],
)
def test_an_adapter_that_could_not_be_merged_is_refused_before_the_first_step(
    tmp_path: Path, family: str, lora: Any, sentence: str
) -> None:
    made, words, args = start(tmp_path, family)
    with pytest.raises(PolicyError, match=sentence):
        train_reward_model(made, words, pairs(), args, tmp_path / "out", {}, lora=lora)
    assert not (tmp_path / "out").exists()


def test_a_reward_model_that_would_be_loaded_as_another_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    made, words, args = start(tmp_path)
    made.config.rms_norm_eps = 4.0  # its layers have another
    with pytest.raises(
        PolicyError, match="would score otherwise once it is loaded from its folder"
    ):
        train_reward_model(made, words, pairs(), args, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["llama", "jamba"])
def test_what_is_written_is_what_was_trained_with_modules_that_lora_saves(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import RewardTrainer

    trained: list[Any] = []
    train = RewardTrainer.train
    monkeypatch.setattr(
        RewardTrainer, "train", lambda self: (train(self), trained.append(self.model))[0]
    )
    made, words, args = start(tmp_path, family)
    before = made.get_input_embeddings().weight.clone()
    lora = {"r": 4, "modules_to_save": ["embed_tokens"]}
    train_reward_model(made, words, pairs(), args, tmp_path / "out", {}, lora=lora)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", dtype="float32")
    assert not torch.equal(again.get_input_embeddings().weight, before)
    ids = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        torch.testing.assert_close(
            again(ids).logits, trained[0].eval()(ids).logits, atol=1e-5, rtol=1e-4
        )


def test_what_trl_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="^reward_model: "):
        stage_config(
            "reward_model", {"lr_scheduler_type": "nonsense"}, folder=tmp_path, seed=0, target="cpu"
        )
    with pytest.raises(PolicyError, match="no reward model can begin from"):
        begin(str(tmp_path / "nothing"), seed=0)


BLOCKS: dict[str, Any] = {
    "model": "bundled",
    "preferences": {"generator": "llmpolicy.bundled.hasty:pairs", "prompt": "{question}"},
    "reward_model": {"max_steps": 1},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"reward_model": {"centre_rewards_coefficient": 0.1}},
            "did you mean 'center_rewards_coefficient'?",
        ),
        (
            {"reward_model": {"output_dir": "x"}},
            "reward_model.output_dir belongs to llmpolicy: pass --out DIR",
        ),
        ({"reward_model": {"max_steps": "many"}}, "reward_model.max_steps cannot be 'many'"),
        ({"preferences": None}, "the block 'preferences' is missing"),
        ({"reward_model": None}, "exactly one of the blocks grpo and reinforce"),
        ({"sft": {"max_steps": 1}}, "the block 'demonstrations' is missing"),
        ({"model": None}, "reward_model is for a `model`"),
    ],
)
def test_a_stage_is_checked_like_the_grpo_block(change: dict[str, Any], words: str) -> None:
    make_recipe(BLOCKS)
    with pytest.raises(RecipeError) as found:
        make_recipe(BLOCKS | change)
    assert words in str(found.value)


def test_the_chat_template_is_tried_out_once_a_model(
    saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewarder = scoring.load(saved, scoring.written(saved), None, False)
    reward_model.score("4", messages=messages(), model=saved)
    rendered: list[Any] = []
    stock = rewarder.tokenizer.apply_chat_template
    monkeypatch.setattr(
        rewarder.tokenizer,
        "apply_chat_template",
        lambda *a, **k: rendered.append(a) or stock(*a, **k),
    )
    for reply in REPLIES:
        reward_model.score(reply, messages=messages(), model=saved)
    assert len(rendered) == len(REPLIES)


def test_a_sealed_reward_model_scores_only_as_it_was_written(saved: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "sealed"))
    seal(folder)
    assert float(reward_model.score("4", prompt="2+2=", model=str(folder))) == pytest.approx(
        float(reward_model.score("4", prompt="2+2=", model=saved))
    )
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    with pytest.raises(
        RewardError, match=r"is damaged \(model.safetensors is not what was written\); bring back"
    ):
        reward_model.score("4", prompt="2+2=", model=str(folder))


def test_a_reward_model_reads_no_further_than_its_attention_reads_whole(tmp_path: Path) -> None:
    settings = build.small("doge", keep_window_size=6)
    settings.num_labels = 1
    AutoModelForSequenceClassification.from_config(settings).save_pretrained(tmp_path)
    cases.words().save_pretrained(tmp_path)
    found = reward_model.score("1+2+3+4", prompt="2+2=", model=str(tmp_path))
    assert found.why == "the first 6 of 12 tokens were cut"
