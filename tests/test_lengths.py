"""π is a function of its context alone: whatever the lengths around it, and beyond every length
that a configuration names.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
)  # fmt: skip

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.door import group_path
from llmpolicy.policies.causal_lm.frequencies import context_length
from llmpolicy.stages.sft import warm_start
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import Demonstration
from scripts.zoo import build, cases
from tests import models, training

SWITCH = 12
LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": SWITCH,
}
PLAIN = {"rope_type": "default", "rope_theta": 100.0}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
GEMMA = {
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
    "query_pre_attn_scalar": 8,
}
PHIMOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
LLAMA4 = {
    "attn_temperature_tuning": True, "floor_scale": SWITCH, "attn_scale": 0.5, "attention_chunk_size": 8,
    "no_rope_layers": [1, 0], "num_local_experts": 2, "intermediate_size_mlp": 32, "interleave_moe_layer_step": 2,
}  # fmt: skip
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 10000.0,
    "original_max_position_embeddings": SWITCH,
}
YARN |= {"beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"rope_parameters": LONGROPE}),
    "qwen3": ("qwen3", {"rope_parameters": LONGROPE}),
    "phi3": ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": SWITCH}),
    "phimoe": ("phimoe", {**PHIMOE, "rope_parameters": {**LONGROPE, "long_mscale": 1.3, "short_mscale": 1.0}}),
    "gemma3": (
        "gemma3_text", {**GEMMA, "rope_parameters": {"full_attention": LONGROPE, "sliding_attention": PLAIN}},
    ),
    "llama4": ("llama4_text", LLAMA4),
    "ministral3": ("ministral3", {"rope_parameters": {**YARN, "llama_4_scaling_beta": 0.5}}),
}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 4}
PROMPTS = [[20, 30, 40, 50, 60], [*range(20, 30)], [33], [*range(40, 65)], [20, 30, 40, 50, 60]]


def network(kind: str, **changes: Any) -> PreTrainedModel:
    model_type, settings = KINDS[kind]
    shared = {
        **models._SMALL,
        "head_dim": 8,
        "vocab_size": len(models.SPECIAL) + len(models.ALPHABET),
        **TOKENS,
    }
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            model_type, **{**shared, "max_position_embeddings": 64, **settings, **changes}
        )
        return AutoModelForCausalLM.from_config(config).train()


def policy(kind: str) -> CausalLMPolicy:
    return CausalLMPolicy(network(kind), models.tokenizer())


@torch.no_grad()
def plain(model: PreTrainedModel, prompt: list[int], action: list[int]) -> torch.Tensor:
    """Of each token, from a forward of transformers over its context alone, (T,)."""
    rows = [torch.tensor([[*prompt, *action[:t]]]) for t in range(len(action))]
    logits = torch.stack([model(row, use_cache=False).logits[0, -1] for row in rows])  # (T, V)
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(action)[:, None])[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_means_the_same_alone_and_beside_a_longer_one_however_it_is_read(kind: str) -> None:
    pi = policy(kind)
    chosen = pi.act(PROMPTS, generator=torch.Generator().manual_seed(0), max_new_tokens=12)
    with torch.no_grad():
        grouped, mask = pi.log_prob(PROMPTS, chosen.value)
    padded, _ = pi.log_prob(PROMPTS, chosen.value)
    torch.testing.assert_close(grouped, chosen.log_prob, atol=1e-4, rtol=0)
    torch.testing.assert_close(padded.detach(), chosen.log_prob, atol=1e-4, rtol=0)
    for row, (prompt, action) in enumerate(zip(PROMPTS, chosen.value, strict=True)):
        expected = plain(pi.model, prompt, action)
        torch.testing.assert_close(chosen.log_prob[row][mask[row]], expected, atol=1e-4, rtol=0)
        alone, _ = pi.log_prob([prompt], [action])
        torch.testing.assert_close(alone[0].detach(), expected, atol=1e-4, rtol=0)
    assert max(map(len, chosen.value)) + len(PROMPTS[1]) > SWITCH + 1  # a row has crossed


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_token_s_distribution_is_that_of_its_prompt_alone(kind: str) -> None:
    pi = policy(kind)
    found = pi.distribution(PROMPTS).logits
    with torch.no_grad():
        expected = torch.stack(
            [pi.model(torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in PROMPTS]
        )
    torch.testing.assert_close(
        torch.log_softmax(found, -1), torch.log_softmax(expected, -1), atol=1e-4, rtol=0
    )


def gradient(pi: CausalLMPolicy, loss: torch.Tensor) -> torch.Tensor:
    pi.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in pi.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_by_groups_rows_on_both_sides_have_the_gradient_of_each_alone(kind: str) -> None:
    pi = policy(kind)
    assert group_path(pi.model) is None
    actions = [[50 + row, *range(30, 40)] for row in range(len(PROMPTS))]
    together, mask = pi.score(PROMPTS, actions, padded=False)
    found = gradient(pi, together.log_prob[mask].sum())
    alone = [
        pi.score([p], [a], padded=True)[0].log_prob.sum()
        for p, a in zip(PROMPTS, actions, strict=True)
    ]
    torch.testing.assert_close(found, gradient(pi, sum(alone)), atol=1e-3, rtol=1e-4)


LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}


@pytest.mark.parametrize(
    ("kind", "path", "lora"),
    [
        ("llama", "group", None),
        ("llama", "group", LORA),
        ("phi3", "stock", None),
        ("llama4", "stock", None),
    ],
)
def test_an_update_on_both_sides_is_the_gradient_of_each_row_alone(
    tmp_path: Path, kind: str, path: str, lora: dict[str, Any] | None
) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    torch.manual_seed(0)
    pi = CausalLMPolicy(network(kind, vocab_size=len(words)), words, lora=lora)
    parameters = [p for p in pi.model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in parameters]
    questions = ("1+1", "1+2+3+4+5+6+7", "2+2")
    settings: dict[str, Any] = {
        "max_completion_length": 14,
        "loss_type": "grpo",
        "router_aux_loss_coef": 0.0,
    }
    trainer = training.trainer(tmp_path, pi, chat=False, questions=questions, **settings)
    kept: dict[str, Any] = {}
    wrapped = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.setdefault(
        "output", wrapped(inputs)
    )  # type: ignore[method-assign]
    trainer.train()
    assert trainer.ways.path.startswith(path)
    assert trainer.parity is not None
    assert trainer.parity < 1e-4
    found = [before - after.detach() for before, after in zip(start, parameters, strict=True)]
    with torch.no_grad():
        for parameter, value in zip(parameters, start, strict=True):
            parameter.copy_(value)
    pi.model.zero_grad()
    output = kept["output"]
    for row, advantage in enumerate(output["advantages"]):
        prompt, action = (
            output[f"{side}_ids"][row][output[f"{side}_mask"][row].bool()].tolist()
            for side in ("prompt", "completion")
        )
        log_prob, _ = pi.log_prob([prompt], [action])
        (-log_prob.mean() * advantage / len(output["advantages"])).backward()
    for step, parameter in zip(found, parameters, strict=True):
        expected = torch.zeros_like(step) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(step, expected, atol=1e-5, rtol=1e-4)


def test_dynamic_frequencies_are_served_where_they_stand_still_and_refused_beyond(
    tmp_path: Path,
) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    pi = CausalLMPolicy(
        models.model(
            "llama", vocab_size=len(words), rope_parameters=DYNAMIC, max_position_embeddings=20
        ),
        words,
    )
    short, long = ([5, 6, 7], [8, 9, 10]), ([5] * 14, [6] * 6)
    before, _ = pi.log_prob([short[0]], [short[1]])
    beside, _ = pi.log_prob([short[0], long[0]], [short[1], long[1]])
    torch.testing.assert_close(before[0], beside[0, :3], atol=1e-5, rtol=0)
    with pytest.raises(PolicyError, match=r"row 0 has 21 tokens.*context is 20 .*dynamic RoPE"):
        pi.log_prob([long[0]], [[*long[1], 7]])
    with pytest.raises(PolicyError, match="context is 20 .*dynamic RoPE"):
        pi.act([long[0]], max_new_tokens=7)
    with pytest.raises(PolicyError, match="context is 20 .*dynamic RoPE"):
        training.trainer(tmp_path, pi, chat=False, max_completion_length=18)
    again, _ = pi.log_prob([short[0]], [short[1]])
    assert torch.equal(before, again)


class Longest(GPT2LMHeadModel):
    """Its logits are colder where the longest row of the pass is above a length that its
    configuration names.
    """

    def forward(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
    ):
        output = super().forward(
            input_ids,
            past_key_values,
            attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
        )
        if position_ids is not None and int(position_ids.max()) >= self.config.seq_length:
            output.logits = output.logits * 0.8
        return output


class Columns(GPT2LMHeadModel):
    """Its logits are colder in columns beyond a length that its configuration names."""

    def forward(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
    ):
        output = super().forward(
            input_ids,
            past_key_values,
            attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
        )
        width = (input_ids if attention_mask is None else attention_mask).shape[1]
        column = torch.arange(width - input_ids.shape[1], width)[:, None]
        output.logits = output.logits * (1 - 0.2 * (column >= self.config.seq_length))
        return output


@pytest.mark.parametrize("kind", [Longest, Columns])
def test_what_cannot_be_one_policy_beyond_a_named_length_is_refused_before_it_trains(
    kind: Any, tmp_path: Path
) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    config = models.model("gpt2", vocab_size=len(words)).config
    config.seq_length = 24
    pi = CausalLMPolicy(kind(config).train(), words)
    pi.act([[5, 6, 7]], max_new_tokens=20)
    sentence = (
        f"{kind.__name__} reads a row around 24 tokens.*expected prompt and completion of at most"
        " 24 tokens"
    )
    with pytest.raises(PolicyError, match=sentence):
        training.trainer(tmp_path, pi, chat=False, max_completion_length=30)
    for _ in range(2):
        with pytest.raises(PolicyError, match=sentence):
            pi.act([[5, 6, 7]], max_new_tokens=30)
        with pytest.raises(PolicyError, match=sentence):
            pi.log_prob([[5, 6, 7]], [[8] * 30])


def test_a_stage_that_reads_whole_rows_refuses_those_that_cross(tmp_path: Path) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    pi = CausalLMPolicy(network("llama", vocab_size=len(words)), words)
    args = stage_config(
        "sft",
        {"max_steps": 1, "use_cpu": True, "bf16": False},
        folder=tmp_path,
        seed=0,
        target="cpu",
    )
    rows = [Demonstration("1+1", "2", "a"), Demonstration("1+2+3+4+5+6+7", "28", "b")]
    with pytest.raises(
        PolicyError, match=r"sft: row 1 has 16 tokens, and above 12 .*max_length: 12"
    ):
        warm_start(pi, rows, [], args, tmp_path / "out", {})


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_reward_model_scores_a_text_as_it_does_alone(kind: str, tmp_path: Path) -> None:
    from llmpolicy.policies.rewarder import load, score_texts

    config = network(kind).config
    config.num_labels = 1
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    models.tokenizer().save_pretrained(tmp_path)
    rewarder = load(str(tmp_path))
    ids = [prompt + [50] for prompt in PROMPTS]
    together = score_texts(rewarder, ids)
    for row, found in zip(ids, together, strict=True):
        assert found.value == pytest.approx(score_texts(rewarder, [row])[0].value, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "llama4"])
def test_a_sampler_that_pads_rows_is_refused_where_rows_cross(kind: str, tmp_path: Path) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    pi = CausalLMPolicy(network(kind, vocab_size=len(words)), words)
    training.trainer(tmp_path, pi, chat=False, max_completion_length=6, top_p=0.9)
    with pytest.raises(
        PolicyError,
        match="columns of its whole batch when TRL samples; expected the policy's own sampler",
    ):
        training.trainer(tmp_path, pi, chat=False, max_completion_length=14, top_p=0.9)


def test_rows_beyond_the_context_are_refused_in_words() -> None:
    pi = CausalLMPolicy(models.model("gpt2", n_positions=20), models.tokenizer())
    pi.log_prob([[5] * 10], [[6] * 10])
    for asked in (lambda: pi.log_prob([[5] * 11], [[6] * 10]), lambda: pi.distribution([[5] * 21])):
        with pytest.raises(PolicyError, match="row 0 has 21 tokens; the model's context is 20"):
            asked()


def test_a_context_of_less_than_nothing_is_none() -> None:
    """XLNet says max_position_embeddings: -1."""
    assert context_length(models.model("llama", max_position_embeddings=-1)) is None
    assert context_length(models.model("llama", max_position_embeddings=64)) == 64


def test_the_context_is_known_by_every_name_that_models_have_for_it(tmp_path: Path) -> None:
    """MPT calls it max_seq_len, and its biases reach no further."""
    words = training.policy().tokenizer
    pi = CausalLMPolicy(
        build.build(build.small("mpt", vocab_size=len(words), max_seq_len=24)), words
    )
    assert pi.context == 24
    pi.log_prob([[5] * 14], [[6] * 10])
    with pytest.raises(PolicyError, match="row 0 has 30 tokens; the model's context is 24"):
        pi.log_prob([[5] * 25], [[6] * 5])
    with pytest.raises(PolicyError, match="30 in all; the model's context is 24"):
        pi.act([[5] * 20], max_new_tokens=10)
    with pytest.raises(PolicyError, match="the model's context is 24"):
        training.trainer(tmp_path, pi, chat=False, max_completion_length=30)


class Breaks(GPT2LMHeadModel):
    """It has a table that ends at a length that its configuration names, by a name of its own."""

    def forward(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
    ):
        if (input_ids if attention_mask is None else attention_mask).shape[
            1
        ] > self.config.table_length:
            raise RuntimeError(
                "The size of tensor a (24) must match the size of tensor b (25)\nmore of it"
            )
        return super().forward(
            input_ids,
            past_key_values,
            attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
        )


def test_a_model_that_fails_beyond_a_named_length_is_refused_in_words() -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    config = models.model("gpt2", vocab_size=len(words)).config
    config.table_length = 24
    pi = CausalLMPolicy(Breaks(config).train(), words)
    pi.act([[5, 6, 7]], max_new_tokens=20)
    sentence = (
        r"Breaks cannot read a row around 24 tokens.*tensor b \(25\)\); expected prompt and"
        r" completion of at most 24"
    )
    with pytest.raises(PolicyError, match=sentence):
        pi.act([[5, 6, 7]], max_new_tokens=30)
    with pytest.raises(PolicyError, match=sentence):
        pi.log_prob([[5, 6, 7]], [[8] * 30])


SPARSE: dict[str, dict[str, Any]] = {
    "glm_moe_dsa": {"index_topk": 20},
    "hy_v4": {"index_topk": 20},
    "deepseek_v4": {"index_topk": 5},  # of entries, each of 4 tokens
    "qwen4_exp_text": {"indexer_budget": 20},
    "doge": {"keep_window_size": 20},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"], "index_topk_blocks": 5, "index_block_size": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("model_type", SPARSE)
def test_attention_that_chooses_its_tokens_is_served_while_it_reads_all_and_refused_beyond(
    model_type: str,
) -> None:
    """Scores that are tied are chosen among by where a row stands, so that padding moves a token's
    distribution.
    """
    network = build.build(build.small(model_type, **SPARSE[model_type]), seed=2)
    pi = CausalLMPolicy(network, cases.words())
    ids = [5 + i * 7 % 25 for i in range(34)]
    prompts, actions = [ids[:14], ids[:3]], [ids[12:18], ids[:10]]
    expected = [plain(pi.model, p, a) for p, a in zip(prompts, actions, strict=True)]
    found, mask = pi.log_prob(prompts, actions)
    torch.testing.assert_close(found[mask], torch.cat(expected), atol=1e-4, rtol=1e-4)
    chosen = pi.act(prompts, max_new_tokens=6, greedy=True)
    expected = [plain(pi.model, p, a) for p, a in zip(prompts, chosen.value, strict=True)]
    torch.testing.assert_close(
        chosen.log_prob[chosen.mask], torch.cat(expected), atol=1e-4, rtol=1e-4
    )
    half = CausalLMPolicy(network.bfloat16(), cases.words())  # whose rounding would hide it
    for policy in (pi, half):
        with pytest.raises(
            PolicyError, match="reads at most 20 tokens .*at most 20 tokens together, not 21"
        ):
            policy.log_prob([ids[:15]], [ids[:6]])
        with pytest.raises(PolicyError, match="at most 20 tokens together, not 23"):
            policy.act([ids[:3]], max_new_tokens=20)


def test_a_stage_refuses_rows_that_attention_would_choose_among(tmp_path: Path) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    pi = CausalLMPolicy(
        build.build(build.small("hy_v4", vocab_size=len(words), index_topk=12)), words
    )
    args = stage_config(
        "sft",
        {"max_steps": 1, "use_cpu": True, "bf16": False},
        folder=tmp_path,
        seed=0,
        target="cpu",
    )
    rows = [Demonstration("1+1", "2", "a"), Demonstration("1+2+3+4+5+6+7", "28", "b")]
    with pytest.raises(PolicyError, match=r"sft: the model reads at most 12 tokens.*not 16"):
        warm_start(pi, rows, [], args, tmp_path / "out", {})
    with pytest.raises(PolicyError, match="at most 12 tokens together, not "):
        training.trainer(tmp_path, pi, chat=False, max_completion_length=30)
