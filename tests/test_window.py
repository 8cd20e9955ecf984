"""The update by groups is TRL's with gradient_accumulation_steps=1 on the rows of the window: loss,
gradient, metrics.

``Stock`` is TRL from ``compute_loss`` down: its own scorer (every prompt once a completion, padded)
and its own losses.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from trl import GRPOTrainer

from llmpolicy.grpo.generation import Generation
from llmpolicy.grpo.groups import equal_rewards, live_groups, shuffled_groups, subset
from llmpolicy.grpo.path import ways_of
from llmpolicy.grpo.trainer import PolicyTrainer
from tests import training

LENGTH = 9
Inputs = dict[str, Any]
LOSSES: dict[str, dict[str, Any]] = {
    "grpo": {},
    "dr_grpo": {"delta": 1.5},
    "dapo": {"epsilon_high": 0.28},
    "cispo": {"epsilon_high": 1.4},
    "sapo": {},
    "vespo": {},
    "luspo": {"importance_sampling_level": "sequence"},
}


class Stock(PolicyTrainer):
    """TRL's own update and scorer."""

    compute_loss = GRPOTrainer.compute_loss
    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies


def rollouts(
    groups: int,
    each: int,
    *,
    old: bool,
    beta: float,
    seed: int = 0,
    pad: int = 0,
    dead: float = 0.3,
    start: int = 0,
) -> Inputs:
    """A generation of ragged rows in no order; about a share ``dead`` of groups, and a row here and
    there, has advantage 0.

    All prompts begin with the same ``start`` tokens.
    """
    draw = torch.Generator().manual_seed(seed)

    def some(low: int, high: int, many: int) -> list[int]:
        return torch.randint(low, high, (many,), generator=draw).tolist()

    shared = some(5, 22, start)
    prompts = [shared + some(5, 22, length) for length in some(1, 8, groups)]
    rows = [
        (group, some(5, 22, length))
        for group in range(groups)
        for length in some(1, LENGTH + 1, each)
    ]
    keep = torch.rand(groups, generator=draw) >= dead
    advantages = torch.randn(len(rows), generator=draw) * keep.repeat_interleave(each)
    advantages[1] = 0.0
    width, length = max(map(len, prompts)), max(len(ids) for _, ids in rows)
    made: Inputs = {
        "prompt_ids": torch.tensor(
            [[pad] * (width - len(prompts[g])) + prompts[g] for g, _ in rows]
        ),
        "prompt_mask": torch.tensor(
            [[0] * (width - len(prompts[g])) + [1] * len(prompts[g]) for g, _ in rows]
        ),
        "completion_ids": torch.tensor(
            [ids[:-1] + [4] + [pad] * (length - len(ids)) for _, ids in rows]
        ),
        "completion_mask": torch.tensor(
            [[1] * len(ids) + [0] * (length - len(ids)) for _, ids in rows]
        ),
        "advantages": advantages,
    }
    shape = made["completion_ids"].shape
    if old:
        made["old_per_token_logps"] = -3.1 + 0.3 * torch.randn(shape, generator=draw)
    if beta:
        made["ref_per_token_logps"] = -3.1 + 0.3 * torch.randn(shape, generator=draw)
    made = subset(made, torch.randperm(len(rows), generator=draw).tolist())
    return {**made, "num_items_in_batch": made["completion_mask"].sum()}


def trainer_of(
    kind: type[PolicyTrainer], folder: Path, rows: int, steps: int = 1, **grpo: Any
) -> PolicyTrainer:
    policy = training.policy(grpo.pop("architecture", "llama"), lora=grpo.pop("lora", None))
    made = training.trainer(
        folder, policy, kind=kind, per_device_train_batch_size=rows // steps, gradient_accumulation_steps=steps,
        max_completion_length=LENGTH, temperature=0.9, **grpo,
    )  # fmt: skip
    made.current_gradient_accumulation_steps = steps
    policy.model.train()
    return made


def update(
    made: PolicyTrainer, inputs: Inputs, steps: int = 1
) -> tuple[float, dict[str, torch.Tensor], dict[str, Any]]:
    """Loss, gradients and metrics of one window, in as many micro-steps."""
    made._metrics["train"].clear()
    made.model.zero_grad()
    size, total = len(inputs["advantages"]) // steps, 0.0
    for step in range(steps):
        made._step = step
        made.accelerator.gradient_state._set_sync_gradients(step + 1 == steps)
        loss = made.compute_loss(
            made.model, subset(inputs, list(range(step * size, (step + 1) * size)))
        )
        loss.backward()
        total += float(loss.detach())
    named = {name: p.grad for name, p in made.model.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in named.values())
    metrics = {name: sum(values) / len(values) for name, values in made._metrics["train"].items()}
    return total, {name: side.clone() for name, side in named.items() if side is not None}, metrics


def same(found: Any, expected: Any) -> None:
    (loss, gradients, metrics), (stock_loss, stock_gradients, stock_metrics) = found, expected
    assert loss == pytest.approx(stock_loss, rel=1e-4, abs=1e-5)
    largest = max(float(side.norm()) for side in stock_gradients.values())
    for name, truth in stock_gradients.items():
        assert float((gradients[name] - truth).norm()) <= 1e-3 * max(
            float(truth.norm()), 1e-3 * largest
        ), name
    for name, value in stock_metrics.items():
        if f"{name}/live" in metrics:  # of the rows that were forwarded
            continue
        assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert {name.removesuffix("/live") for name in metrics} == set(stock_metrics)


CASES = [
    (loss, old, beta, groups, each, steps, budget)
    for loss in LOSSES
    for old, beta, groups, each, steps, budget in (
        (False, 0.0, 3, 4, 1, None), (True, 0.0, 6, 2, 4, 20), (True, 0.04, 2, 16, 4, 60),
    )
]  # fmt: skip


@pytest.mark.parametrize(("loss", "old", "beta", "groups", "each", "steps", "budget"), CASES)
def test_a_window_is_one_step_of_stock_trl(
    tmp_path: Path,
    loss: str,
    old: bool,
    beta: float,
    groups: int,
    each: int,
    steps: int,
    budget: int | None,
) -> None:
    rows = groups * each
    inputs = rollouts(
        groups, each, old=old, beta=beta, seed=groups, pad=4 if old else 0, start=8 if old else 0
    )
    options = {"loss_type": loss, "num_generations": each, "beta": beta, **LOSSES[loss]}
    expected = update(trainer_of(Stock, tmp_path / "stock", rows, **options), inputs)
    ours = trainer_of(PolicyTrainer, tmp_path / "ours", rows, steps, **options)
    assert ours.stock_reason is None
    ours.budget.tokens = budget
    found = update(ours, inputs, steps)
    same(found, expected)
    assert ("entropy/live" in found[2]) == (beta == 0.0)
    assert float(max(side.abs().max() for side in expected[1].values())) > 1e-4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("per_generation", [2, 8])
def test_windows_that_are_cut_or_many_in_a_generation(
    tmp_path: Path, loss: str, per_generation: int
) -> None:
    """Stock TRL takes the same micro-steps here: as many rows each, so that the mean of means is
    the mean.
    """
    inputs = rollouts(4, 4, old=True, beta=0.0)
    options = {"loss_type": loss, "steps_per_generation": per_generation, **LOSSES[loss]}
    expected = update(trainer_of(Stock, tmp_path / "stock", 16, 4, **options), inputs, 4)
    ours = trainer_of(PolicyTrainer, tmp_path / "ours", 16, 4, **options)
    loss_found, gradients, _ = update(ours, inputs, 4)
    same((loss_found, gradients, {}), (*expected[:2], {}))


def test_the_mask_of_off_policy_rows_is_that_of_stock_trl(tmp_path: Path) -> None:
    """TRL compares with the sampler's log-probabilities where it is given some: it is not, so with
    the old ones.
    """
    inputs = rollouts(3, 4, old=True, beta=0.0)
    open_, closed = ({"off_policy_mask_threshold": limit} for limit in (100.0, 0.05))
    stock = update(trainer_of(Stock, tmp_path / "stock", 12, **closed), inputs)
    same(update(trainer_of(PolicyTrainer, tmp_path / "ours", 12, **closed), inputs), stock)
    every = update(trainer_of(PolicyTrainer, tmp_path / "open", 12, **open_), inputs)
    assert every[0] != pytest.approx(stock[0], rel=1e-3)  # the mask took rows out
    trainer = training.trainer(tmp_path / "run", training.policy(), **closed)
    made = trainer._generate_and_score_completions(
        [{"prompt": "", "row": row} for row in (0, 0, 0, 0, 1, 1, 1, 1)]
    )
    assert "sampling_per_token_logps" not in made


@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe"])
def test_mixtures_of_experts_without_their_auxiliary_loss(
    tmp_path: Path, architecture: str
) -> None:
    options = {"architecture": architecture, "router_aux_loss_coef": 0.0}
    inputs = rollouts(3, 4, old=True, beta=0.0, start=8)
    expected = update(trainer_of(Stock, tmp_path / "stock", 12, **options), inputs)
    ours = trainer_of(PolicyTrainer, tmp_path / "ours", 12, **options)
    assert ours.ways.path == "group"
    same(update(ours, inputs), expected)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "mistral", "gemma3"])
@pytest.mark.parametrize("lora", [None, {"r": 4, "init_lora_weights": False}])
def test_other_architectures_and_adapters(
    tmp_path: Path, architecture: str, lora: dict[str, Any] | None
) -> None:
    inputs = rollouts(3, 4, old=True, beta=0.0, start=8)
    options = {"architecture": architecture, "lora": lora, "gradient_checkpointing": lora is None}
    torch.manual_seed(0)
    expected = update(trainer_of(Stock, tmp_path / "stock", 12, **options), inputs)
    torch.manual_seed(0)
    ours = trainer_of(PolicyTrainer, tmp_path / "ours", 12, **options)
    ours.budget.tokens = 30
    same(update(ours, inputs), expected)


def test_what_cannot_contribute_is_not_forwarded(tmp_path: Path) -> None:
    inputs = rollouts(4, 4, old=False, beta=0.0, dead=0.6)
    dead = (inputs["advantages"].view(-1) == 0).sum()
    assert dead > 4
    ours = trainer_of(PolicyTrainer, tmp_path, 16)
    seen: list[int] = []
    ours.policy.model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: seen.append(given[0].numel())
    )
    update(ours, inputs)
    live = [row for row in range(16) if inputs["advantages"][row] != 0]
    prompts = {
        tuple(inputs["prompt_ids"][row][inputs["prompt_mask"][row] == 1].tolist()) for row in live
    }
    completions = sum(int(inputs["completion_mask"][row].sum()) - 1 for row in live)
    assert seen == [sum(map(len, prompts)) + completions]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_rewards_have_no_advantage_though_their_mean_is_rounded(
    tmp_path: Path, scale: str
) -> None:
    """The second group has one reward but for a row that cannot be judged."""

    def reward(row: int, completion_ids: list[int]) -> float | None:
        return [0.1, None if sum(completion_ids) % 7 == 0 else 0.1, float(sum(completion_ids) % 5)][
            row
        ]

    inputs = [{"prompt": "", "row": row} for row in (0, 1, 2) for _ in range(6)]
    options: dict[str, Any] = {"reward": reward, "num_generations": 6, "scale_rewards": scale}
    ours = training.trainer(tmp_path, training.policy(), per_device_train_batch_size=18, **options)
    torch.manual_seed(0)
    made = ours._generate_and_score_completions(inputs)["advantages"]
    ours.generation = Generation([item["row"] for item in inputs])
    torch.manual_seed(0)
    stock = GRPOTrainer._generate_and_score_completions(ours, inputs)["advantages"]
    assert stock[:6].any()
    assert ours.generation.table[6:12].isnan().any()
    assert not made[:12].any()
    assert torch.equal(made[12:], stock[12:].float())
    assert made[12:].any()


def test_rewards_that_32_bits_cannot_tell_apart_have_the_advantages_of_their_difference(
    tmp_path: Path,
) -> None:
    def advantages(offset: float) -> torch.Tensor:
        def reward(row: int, completion_ids: list[int]) -> float:
            return offset + float(sum(completion_ids) % 2)

        inputs = [{"prompt": "", "row": 0} for _ in range(8)]
        options: dict[str, Any] = {"reward": reward, "num_generations": 8}
        ours = training.trainer(
            tmp_path, training.policy(), per_device_train_batch_size=8, **options
        )
        torch.manual_seed(0)
        return ours._generate_and_score_completions(inputs)["advantages"]

    plain, lifted = advantages(0.0), advantages(1e8)
    assert plain.any() and plain.dtype == lifted.dtype == torch.float32
    torch.testing.assert_close(lifted, plain)


def test_terms_that_add_up_in_another_order_are_one_reward() -> None:
    table = torch.tensor(
        [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [1e8, 0, 0], [1e8, 1, 0]], dtype=torch.float64
    )
    assert equal_rewards(table, torch.ones(3), 2).tolist() == [True, True, False, False]


def test_an_advantage_that_moves_nothing_is_no_signal() -> None:
    assert live_groups([[0.0], [1e-8], [0.0], [float("nan"), 1e-3]], 2) == 0.5


def test_without_any_signal_nothing_is_forwarded_and_the_gradient_is_zero(tmp_path: Path) -> None:
    inputs = rollouts(3, 4, old=False, beta=0.0)
    inputs["advantages"] = torch.zeros(12)
    ours = trainer_of(PolicyTrainer, tmp_path, 12)
    ours.policy.model.get_input_embeddings().register_forward_hook(
        lambda *_: pytest.fail("a forward")
    )
    loss, gradients, _ = update(ours, inputs)
    assert loss == 0.0
    assert all(not side.any() for side in gradients.values())


def test_groups_stay_whole_when_a_generation_is_split(tmp_path: Path) -> None:
    inputs = {"advantages": torch.arange(12.0), "n": torch.tensor(3), "row": torch.arange(12)}
    torch.manual_seed(0)
    shuffled = shuffled_groups(inputs, 4)
    groups = shuffled["advantages"].view(3, 4)
    assert all((row.diff() == 1).all() and row[0] % 4 == 0 for row in groups)
    assert torch.equal(shuffled["row"].float(), shuffled["advantages"])
    spanning = shuffled_groups(inputs, 8)  # a group that spans processes
    assert sorted(spanning["row"].tolist()) == list(range(12))


def test_each_other_path_has_its_reason(tmp_path: Path) -> None:
    for options, words in [
        ({"loss_type": "bnpo"}, "micro-batch"),
        ({"entropy_coef": 0.1}, "entropy"),
        ({"top_entropy_quantile": 0.5}, "entropy"),
        ({"architecture": "qwen3_moe"}, "auxiliary loss"),
    ]:
        assert words in str(trainer_of(PolicyTrainer, tmp_path, 8, **options).stock_reason)
    assert (
        trainer_of(
            PolicyTrainer, tmp_path, 8, architecture="qwen3_moe", router_aux_loss_coef=0.0
        ).stock_reason
        is None
    )
    ours = trainer_of(PolicyTrainer, tmp_path, 8)
    for kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        ours.accelerator.state.distributed_type = kind
        try:
            assert ways_of(ours).update.reason is not None
        finally:
            ours.accelerator.state.distributed_type = DistributedType.NO
    ours.args._n_gpu = 2
    assert "several devices" in str(ways_of(ours).update)


def test_sharded_weights_take_the_path_of_stock_trl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = rollouts(3, 4, old=True, beta=0.0)
    expected = update(trainer_of(Stock, tmp_path / "stock", 12), inputs)
    ours = trainer_of(PolicyTrainer, tmp_path / "ours", 12)
    ours.is_fsdp_enabled = True
    ours.take_path()
    assert ours.ways.path == "stock (weights are sharded)"
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", lambda *_: ([[5, 4]], None))
    monkeypatch.setattr("llmpolicy.grpo.judging.begin", lambda *_: None)
    ours.generation = Generation([0])
    assert ours._generate_single_turn([[5]], None, {}, 1) == ([[5, 4]], None)
    monkeypatch.setattr(
        "llmpolicy.grpo.step.window_loss", lambda *_: pytest.fail("the update by groups")
    )
    monkeypatch.setattr(
        "llmpolicy.grpo.scorer.score_groups", lambda *_: pytest.fail("the scorer by groups")
    )
    same(update(ours, inputs), expected)
