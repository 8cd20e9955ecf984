"""Recurrent and hybrid models: every figure is that of a plain pass of transformers over one row
alone, without padding.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax, pad
from trl.trainer.utils import add_fused_lm_head

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.read_states import state_reason
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.fast.score_states import state_path
from llmpolicy.policies.causal_lm.forward import left_pad, right_pad
from llmpolicy.policies.causal_lm.score import fused_is_plain, score
from tests import models, training
from tests.recurrent_models import RECURRENT
from tests.test_window import Stock, rollouts, same, trainer_of, update

FAST = ("qwen3_5", "lfm2", "falcon_h1", "mamba")
BIASED: dict[str, dict[str, Any]] = {
    "lfm2": {"conv_bias": True},
    "bamba": {"mamba_proj_bias": True, "time_step_limit": (0.01, 0.05)},
    "falcon_h1": {"mamba_proj_bias": True, "time_step_limit": (0.0, 0.1)},
    "mamba2": {"use_bias": True, "time_step_limit": (0.1, 0.2)},
    "nemotron_h": {"use_bias": True},
    "zamba2": {"add_bias_linear": True},
}
"""Settings by which padding on the left leaks into the state, or a single token is read otherwise
than a row.
"""
BY_STATES = (
    "qwen3_5", "qwen3_5_moe", "qwen3_next", "qwen4_exp", "lfm2", "lfm2_moe", "lfm3", "falcon_h1", "bamba",
    "granitemoehybrid", "nemotron_h", "zamba2", "olmo_hybrid", "kimi_linear", "bailing_hybrid", "mamba2", "inkling",
    "inkling2", "zaya",
)  # fmt: skip
"""Families of which transformers goes on from a state over several tokens: not Mamba's scan nor
what holds a cache of its own.
"""
BY_ROWS = ("rwkv", "xlstm", "recurrent_gemma")
"""Families of which transformers cannot continue a batch of rows from what it carries."""
STOP = list(range(5, 25))  # a fifth of the vocabulary, so that rows leave at different times
CASES = [(family, {}) for family in RECURRENT] + list(BIASED.items())

every_family = pytest.mark.parametrize(
    ("family", "settings"),
    [
        pytest.param(
            *case,
            marks=() if case[0] in FAST else pytest.mark.slow,
            id=f"{case[0]}{'-biased' * bool(case[1])}",
        )
        for case in CASES
    ],
)


def prompts() -> list[list[int]]:
    draw = torch.Generator().manual_seed(1)
    first, second, third, fourth = (
        torch.randint(5, 90, (n,), generator=draw).tolist() for n in (9, 3, 14, 9)
    )
    return [first, first, second, second, second, third, fourth, third, first, second]


def plain(model: Any, prompt: list[int], action: list[int], temperature: float) -> torch.Tensor:
    """The log-probabilities of every token at each place of the action, (T, V), by the model
    itself.
    """
    ids = torch.tensor([prompt + action])
    filled = (
        pad(ids, (0, -ids.shape[1] % 8)) if model.config.model_type == "xlstm" else ids
    )  # it takes whole chunks
    logits = model(input_ids=filled, use_cache=False).logits[0, len(prompt) - 1 : ids.shape[1] - 1]
    return log_softmax(logits.float() / temperature, -1)


@every_family
@torch.no_grad()
def test_what_is_written_and_scored_is_a_plain_pass_over_the_row(
    family: str, settings: dict[str, Any]
) -> None:
    model = models.model(family, **settings)
    pi = CausalLMPolicy(model, models.tokenizer(), temperature=1.3, stop=STOP)
    for greedy in (False, True):
        action = pi.act(
            prompts(), greedy=greedy, generator=torch.Generator().manual_seed(3), max_new_tokens=12
        )
        scored, _ = pi.log_prob(prompts(), action.value)
        assert greedy or len(set(map(len, action.value))) > 2
        for row, (prompt, chosen) in enumerate(zip(prompts(), action.value, strict=True)):
            truth = plain(model, prompt, chosen, 1.3)
            if greedy:
                assert truth.argmax(-1).tolist() == chosen
            expected = truth.gather(1, torch.tensor(chosen)[:, None])[:, 0]
            assert torch.allclose(action.log_prob[row, : len(chosen)], expected, atol=1e-4)
            assert torch.allclose(scored[row, : len(chosen)], expected, atol=1e-4)
    first = pi.distribution(prompts()).logits
    assert torch.allclose(
        first, torch.stack([plain(model, p, [5], 1.3)[0] for p in prompts()]), atol=1e-4
    )
    assert (state_reason(model) is None) == (family not in BY_ROWS)


@every_family
def test_gradient_and_entropy_are_those_of_single_rows(
    family: str, settings: dict[str, Any]
) -> None:
    model = models.model(family, **settings)
    pi = CausalLMPolicy(model, models.tokenizer(), temperature=1.3)
    rows, draw = prompts()[1:6:2], torch.Generator().manual_seed(4)
    actions = [torch.randint(5, 90, (length,), generator=draw).tolist() for length in (7, 1, 11)]
    scored, mask = pi.score(rows, actions, entropy=True)
    (scored.log_prob.sum() + 0.1 * scored.entropy.sum()).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    truths = [
        plain(model, prompt, action, 1.3) for prompt, action in zip(rows, actions, strict=True)
    ]
    chosen = torch.cat(
        [
            truth.gather(1, torch.tensor(a)[:, None])
            for truth, a in zip(truths, actions, strict=True)
        ]
    )
    entropy = torch.cat([-(truth.exp() * truth).sum(-1) for truth in truths])
    (chosen.sum() + 0.1 * entropy.sum()).backward()
    assert torch.allclose(scored.entropy[mask], entropy, atol=1e-4)
    largest = max(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)
    assert found.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert float((found[name] - parameter.grad).norm()) < 1e-4 * largest, name


@pytest.mark.parametrize(
    "family",
    [
        "qwen3_5",
        "mamba",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("falcon_h1", "jamba", "minimax")),
    ],
)
def test_a_window_is_one_step_of_stock_trl(tmp_path: Path, family: str) -> None:
    inputs = rollouts(3, 4, old=True, beta=0.04)
    options: dict[str, Any] = {"architecture": family, "beta": 0.04, "num_generations": 4}
    expected = update(trainer_of(Stock, tmp_path / "stock", 12, **options), inputs)
    ours = trainer_of(training.PolicyTrainer, tmp_path / "ours", 12, **options)
    words = (
        "auxiliary loss"
        if family in ("jamba", "minimax")
        else "does not go on from a state of its own"
    )
    assert ours.ways.path == "state" if family in BY_STATES else words in ours.ways.path
    same(update(ours, inputs), expected)


def rows_of(given: list[list[int]], actions: list[list[int]]) -> Rows:
    there, mask = (
        left_pad(given, 0, torch.device("cpu")),
        right_pad(actions, 0, torch.device("cpu")),
    )
    ids, masks = (torch.cat(pair, 1) for pair in zip(there, mask, strict=True))
    return Rows(ids, masks, mask[0].shape[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_family
def test_completions_go_on_from_their_prompts_state_where_the_model_does(
    family: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    model = models.model(family, **settings).to(dtype).train()
    serves = family in BY_STATES and (family, dtype) != (
        "inkling2",
        torch.bfloat16,
    )  # which multiplies unlike dtypes
    assert (state_path(model) is None) == serves
    if not serves or dtype == torch.bfloat16:
        return
    draw = torch.Generator().manual_seed(2)
    actions = [
        torch.randint(5, 90, (n,), generator=draw).tolist() for n in (3, 1, 7, 2, 2, 5, 1, 1, 12, 2)
    ]
    own = [
        torch.cat([plain(model, *pair, 0.7)[range(len(pair[1])), pair[1]]])
        for pair in zip(prompts(), actions, strict=True)
    ]
    weights = torch.randn(sum(map(len, actions)), generator=draw)
    parameters = [one for one in model.parameters() if one.requires_grad]

    def gradient(log_prob: torch.Tensor) -> list[torch.Tensor | None]:
        return list(torch.autograd.grad((log_prob * weights).sum(), parameters, allow_unused=True))

    expected, rows = gradient(torch.cat(own)), rows_of(prompts(), actions)
    for budget in (None, 40, 1):
        scored = score_groups(model, rows, 0.7, entropy=True, budget=budget)
        assert torch.allclose(scored.log_prob[rows.places], torch.cat(own), atol=2e-4)
        assert scored.entropy is not None and bool((scored.entropy[rows.places] > 0).all())
        for found, right in zip(gradient(scored.log_prob[rows.places]), expected, strict=True):
            assert (found is None) == (right is None) or right is None or not right.any()
            if found is not None and right is not None:
                assert torch.allclose(found, right, atol=2e-3 + 1e-4 * float(right.abs().max()))


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("lora", [None, {"r": 4}])
@pytest.mark.parametrize("family", ["qwen3_5", pytest.param("rwkv", marks=pytest.mark.slow)])
def test_a_step_of_grpo_moves_the_policy_and_its_sampler_is_its_scorer(
    tmp_path: Path, family: str, lora: dict[str, Any] | None, checkpoints: bool
) -> None:
    pi = training.policy(family, lora=lora)
    before = training.vector(pi.model)
    trainer = training.trainer(tmp_path, pi, gradient_checkpointing=checkpoints)
    assert (trainer.ways.path == "state") == (family == "qwen3_5" and not checkpoints)
    trainer.train()
    assert trainer.parity is not None and trainer.parity < 1e-4
    assert not torch.equal(training.vector(pi.model), before)


@pytest.mark.parametrize(
    "family",
    [
        "falcon_h1",
        "jamba",
        "mamba",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("nemotron_h", "rwkv", "zamba2")),
    ],
)
def test_every_part_of_an_adapter_counts_and_merging_it_changes_nothing(family: str) -> None:
    pi = CausalLMPolicy(models.model(family), models.tokenizer(), lora={"r": 2})
    with torch.no_grad():
        for parameter in pi.parameters():
            parameter.normal_(0, 0.05)
    actions = [[7, 8, 9]] * len(prompts())
    log_prob, _ = pi.log_prob(prompts(), actions)
    log_prob.square().sum().backward()
    for name, parameter in pi.model.named_parameters():
        if (
            parameter.requires_grad and "indexer" not in name
        ):  # which chooses places, and has no gradient at all
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert torch.allclose(pi.merge().log_prob(prompts(), actions)[0], log_prob, atol=1e-3)


@pytest.mark.parametrize("family", ["jamba", "falcon_h1"])
def test_a_loaded_adapter_is_the_one_that_was_saved(tmp_path: Path, family: str) -> None:
    pi = CausalLMPolicy(models.model(family), models.tokenizer(), lora={"r": 2})
    with torch.no_grad():
        for parameter in pi.parameters():
            parameter.normal_(0, 0.05)
    pi.save(tmp_path)
    models.model(family).save_pretrained(tmp_path / "base")
    models.tokenizer().save_pretrained(tmp_path / "base")
    loaded = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path)
    actions = [[7, 8, 9]] * len(prompts())
    assert torch.allclose(
        loaded.log_prob(prompts(), actions)[0], pi.log_prob(prompts(), actions)[0], atol=1e-4
    )


@pytest.mark.parametrize(("family", "target"), [("jamba", "dt_proj"), ("bamba", "out_proj")])
def test_an_adapter_that_would_not_be_seen_is_refused(family: str, target: str) -> None:
    with pytest.raises(
        PolicyError,
        match=rf"include mamba.{target}, whose weights the model reads past any adapter",
    ):
        CausalLMPolicy(models.model(family), models.tokenizer(), lora={"target_modules": [target]})


@pytest.mark.parametrize(
    ("family", "aux_loss", "is_plain"),
    [("llama", False, True), ("falcon_h1", False, True), ("mamba", False, True), ("recurrent_gemma", False, False),
     ("granitemoehybrid", False, True), ("granitemoehybrid", True, False), ("jamba", True, True)],
)  # fmt: skip
@torch.no_grad()
def test_the_fused_head_is_used_where_it_is_the_models_own(
    family: str, aux_loss: bool, is_plain: bool
) -> None:
    model = models.model(family, **({"lm_head_multiplier": 0.5} if family == "falcon_h1" else {}))
    model.get_output_embeddings().weight.mul_(20)  # logits so large that a cap on them is seen
    add_fused_lm_head(model, temperature=0.9, outputs=("log_probs", "entropy"))
    ids, mask = torch.arange(5, 45).view(2, 20), torch.ones(2, 20, dtype=torch.long)
    mask[0, :4] = 0
    truth = score(model, ids, mask, 12, 0.9, aux_loss=aux_loss)
    found = score(model, ids, mask, 12, 0.9, aux_loss=aux_loss, fused=True)
    assert torch.allclose(found.log_prob, truth.log_prob, atol=1e-4)
    assert not aux_loss or torch.allclose(found.aux_loss, truth.aux_loss, atol=1e-4)
    assert (
        fused_is_plain(model, 0.9, {"output_router_logits": True} if aux_loss else {}) == is_plain
    )


@pytest.mark.parametrize("family", ["lfm2", pytest.param("rwkv", marks=pytest.mark.slow)])
def test_trls_sampler_is_refused_where_padding_on_the_left_is_seen(
    tmp_path: Path, family: str
) -> None:
    training.trainer(tmp_path, training.policy(family if family == "lfm2" else "mamba"), top_p=0.9)
    model = models.model(family, **BIASED.get(family, {}))
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(5)
    with pytest.raises(
        PolicyError, match="changes its mind by .* nats when prompts are padded on the left"
    ):
        training.trainer(tmp_path, CausalLMPolicy(model, models.tokenizer()), top_p=0.9)


def test_a_model_that_cannot_read_is_refused_in_words() -> None:
    model = models.model("xlstm", mode="train_with_padding", return_last_states=False)
    with pytest.raises(
        PolicyError,
        match=(
            r"xLSTMForCausalLM cannot read 16 tokens in evaluation \(.*\); expected a causal"
            r" language model"
        ),
    ):
        CausalLMPolicy(model, models.tokenizer())


@torch.no_grad()
def test_evaluating_rwkv_leaves_its_weights_alone() -> None:
    model = models.model("rwkv", num_hidden_layers=4, rescale_every=2)
    ids = torch.tensor([[5, 6, 7, 8]])
    truth = model(input_ids=ids).logits
    model.eval()(input_ids=ids)  # halved from here on
    pi = CausalLMPolicy(model, models.tokenizer(), lora={"r": 2, "init_lora_weights": False})
    before = {name: weight.clone() for name, weight in pi.model.state_dict().items()}
    train, evaluated = pi.model.train()(input_ids=ids).logits, pi.model.eval()(input_ids=ids).logits
    assert torch.allclose(train, evaluated, atol=1e-5)
    assert all(torch.equal(before[name], weight) for name, weight in pi.model.state_dict().items())
    with pi.adapter_off():
        assert torch.allclose(pi.model(input_ids=ids).logits, truth, atol=1e-5)
