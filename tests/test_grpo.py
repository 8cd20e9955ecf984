"""The trainer's own promises: unjudged rows, references, what a checkpoint holds, what a rollout
says, how a run goes on.
"""

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainerState
from trl import GRPOTrainer

from llmpolicy.errors import RewardError
from llmpolicy.grpo.callbacks import BestCheckpoint, CleanStop
from llmpolicy.grpo.progress import Progress, progress_line
from llmpolicy.objectives import group_advantages
from llmpolicy.rewards import Score
from llmpolicy.run import Run, damage
from tests import training

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


def new_run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", {"name": "tiny"})


def test_a_row_that_cannot_be_judged_is_kept_out_of_its_groups_mean(tmp_path: Path) -> None:
    def sometimes(completion: str, completion_ids: list[int]) -> float | None:
        return None if sum(completion_ids) % 3 == 0 else training.digest(completion, completion_ids)

    trainer = training.trainer(
        tmp_path, training.policy(), reward=sometimes, per_device_train_batch_size=16
    )
    kept: dict[str, Any] = {}
    wrapped = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.setdefault(
        "output", wrapped(inputs)
    )  # type: ignore[method-assign]
    trainer.train()
    values = [episode.score.value for episode in trainer.generation.episodes]
    assert None in values
    rewards = torch.tensor([float("nan") if value is None else value for value in values])
    expected = group_advantages(rewards.view(-1, 4)).flatten()
    torch.testing.assert_close(kept["output"]["advantages"], expected, atol=1e-5, rtol=1e-5)
    assert all(expected[i] == 0 for i, value in enumerate(values) if value is None)


def test_a_part_that_is_none_makes_the_row_none_instead_of_zero(tmp_path: Path) -> None:
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.rewards import Rewards, RewardSpec

    def half(completion: str, completion_ids: list[int]) -> float | None:
        return None if sum(completion_ids) % 2 else 1.0

    made = training.policy()
    args = training.config(tmp_path)
    args.reward_weights = [1.0, 1.0]
    rewards = Rewards([RewardSpec(training.digest), RewardSpec(half)], isolate=False)
    trainer = PolicyTrainer(
        made, rewards, training.rows(), args, optimizers=training.sgd(made.model)
    )
    seen: list[torch.Tensor] = []
    wrapped = trainer._calculate_rewards
    trainer._calculate_rewards = lambda *arguments: seen.append(wrapped(*arguments)) or seen[-1]  # type: ignore[method-assign,func-returns-value]
    trainer.train()
    unjudged = [sum(episode.tokens()[0]) % 2 == 1 for episode in trainer.generation.episodes]
    assert any(unjudged)
    assert seen[0].isnan().all(dim=1).tolist() == unjudged
    assert not seen[0][[not flag for flag in unjudged]].isnan().any()


@pytest.mark.parametrize("value", [math.nan, math.inf, "high", [1.0]])
def test_a_reward_that_is_no_number_stops_the_run_in_one_sentence(
    tmp_path: Path, value: Any
) -> None:
    def broken(completion: str) -> Any:
        return value

    made = training.policy()
    before = training.vector(made.model)
    with pytest.raises(RewardError, match="broken"):
        training.trainer(tmp_path, made, reward=broken).train()
    assert torch.equal(training.vector(made.model), before)


@pytest.mark.parametrize("lora", [None, LORA])
def test_kl_is_zero_at_step_0_and_the_reference_is_the_policys_own(
    tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    made = training.policy(lora=lora)
    trainer = training.trainer(tmp_path, made, beta=0.1, max_steps=2, learning_rate=0.5)
    outputs: list[dict[str, Any]] = []
    wrapped = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: (
        outputs.append(wrapped(inputs)) or outputs[-1]
    )  # type: ignore[method-assign,func-returns-value]
    trainer.train()
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert trainer.state.log_history[1]["kl"] > 1e-6
    episodes = trainer.generation.episodes
    prompts = [trainer.rows[episode.row].prompt for episode in episodes]
    expected, mask = made.reference.log_prob(prompts, [episode.tokens()[0] for episode in episodes])
    found = outputs[-1]["ref_per_token_logps"]
    torch.testing.assert_close(found * mask, expected * mask, atol=1e-4, rtol=0)


def test_a_fresh_adapter_stays_the_only_one(tmp_path: Path) -> None:
    made = training.policy(lora=LORA)
    trainer = training.trainer(tmp_path, made, beta=0.1, save_strategy="steps", save_steps=1)
    trainer.train()
    assert list(made.model.peft_config) == ["default"]
    files = {path.name for path in (tmp_path / "checkpoint-1").rglob("*") if path.is_file()}
    assert "adapter_model.safetensors" in files
    assert not list((tmp_path / "checkpoint-1").rglob("ref"))


def test_a_checkpoint_holds_no_pickled_arguments_and_no_card(tmp_path: Path) -> None:
    trainer = training.trainer(tmp_path, training.policy(), save_strategy="steps", save_steps=1)
    trainer.train()
    files = {path.name for path in (tmp_path / "checkpoint-1").iterdir()}
    assert {"model.safetensors", "trainer_state.json", "optimizer.pt", "tokenizer.json"} <= files
    assert not {"training_args.bin", "README.md"} & files


def test_each_rollout_is_kept_with_its_tokens_parts_and_advantage(tmp_path: Path) -> None:
    def scored(completion: str, completion_ids: list[int]) -> Score:
        return Score(training.digest(completion, completion_ids), parsed=completion, why="digest")

    run = new_run(tmp_path)
    made = training.policy()
    trainer = training.trainer(
        tmp_path / "out", made, reward=scored, options={"run": run}, max_steps=2
    )
    trainer.train()
    kept = list(run.rollouts("train"))
    assert len(kept) == 16
    assert {row["step"] for row in kept} == {1, 2}
    for row in kept:
        assert row["reward"] == row["reward/scored"] == training.digest("", row["token_ids"])
        assert row["terminated"] == (row["token_ids"][-1] in made.stop_ids) != row["truncated"]
        assert len(row["log_probs"]) == len(row["token_ids"])
        assert made.decode(row["token_ids"]) == row["completion"]
    for step in (1, 2):
        for group in (0, 1):
            rows = [row for row in kept if (row["step"], row["group"]) == (step, group)]
            expected = group_advantages(torch.tensor([[row["reward"] for row in rows]]))[0]
            assert [row["advantage"] for row in rows] == pytest.approx(expected.tolist(), abs=1e-4)
            assert len({row["row"] for row in rows}) == 1


def test_the_samplers_log_probs_in_the_rollouts_are_the_policys(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    training.trainer(
        tmp_path / "out", training.policy(temperature=0.8), options={"run": run}, temperature=0.8
    ).train()
    fresh = training.policy(temperature=0.8)
    kept = list(run.rollouts())
    prompts = [training.rows()[row["row"]].prompt for row in kept]
    log_prob, mask = fresh.log_prob(prompts, [row["token_ids"] for row in kept])
    for place, row in enumerate(kept):
        length = int(mask[place].sum())
        assert row["log_probs"] == pytest.approx(log_prob[place, :length].tolist(), abs=1e-4)


class Look(TrainerCallback):
    """Weights, Adam's moments, the learning rate and the step as they are when the first step
    begins.
    """

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **kept: Any) -> None:
        if not hasattr(self, "step"):
            self.step, self.weights = state.global_step, training.vector(kept["model"])
            self.adam, self.lr = adam_of(kept["optimizer"]), kept["lr_scheduler"].get_last_lr()


def adam_of(optimizer: Any) -> list[torch.Tensor]:
    states = optimizer.state_dict()["state"].values()
    return [
        torch.as_tensor(state[key]).clone()
        for state in states
        for key in ("step", "exp_avg", "exp_avg_sq")
    ]


@pytest.mark.parametrize("lora", [None, LORA])
def test_a_run_goes_on_with_the_weights_moments_schedule_and_step_it_had(
    tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    def adam(look: Look) -> Any:
        grpo: dict[str, Any] = {
            "learning_rate": 1e-2,
            "lr_scheduler_type": "linear",
            "save_total_limit": None,
        }
        options = {"optimizers": (None, None), "callbacks": [look]}
        made = training.policy(lora=lora)
        return training.trainer(
            tmp_path,
            made,
            max_steps=4,
            save_strategy="steps",
            save_steps=2,
            options=options,
            **grpo,
        )

    look = Look()
    straight, resumed = adam(Look()), adam(look)
    stop = CleanStop()
    straight.add_callback(stop)
    stop.reason = "SIGTERM"  # as after a signal: ends at step 1 with a checkpoint
    straight.train()
    saved, moments, lr = (
        training.vector(straight.model),
        adam_of(straight.optimizer),
        straight.lr_scheduler.get_last_lr(),
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert (look.step, look.lr, resumed.state.global_step) == (1, lr, 4)
    assert torch.equal(look.weights, saved)
    assert len(moments) == len(look.adam) > 0
    assert all(torch.equal(a, b) for a, b in zip(moments, look.adam, strict=True))
    assert not torch.equal(training.vector(resumed.model), saved)


@pytest.mark.parametrize("window", [{"steps_per_generation": 2}, {"num_iterations": 2}])
def test_a_checkpoint_waits_until_its_generation_is_used_up_so_that_a_resume_is_exact(
    tmp_path: Path, window: dict[str, Any]
) -> None:
    def of(folder: Path) -> Any:
        grpo: dict[str, Any] = {
            "per_device_train_batch_size": 16,
            "save_total_limit": None,
            **window,
        }
        questions = [f"{place}+1" for place in range(24)]
        return training.trainer(
            folder,
            training.policy(),
            questions=questions,
            max_steps=7,
            save_strategy="steps",
            save_steps=3,
            **grpo,
        )

    straight, resumed = of(tmp_path / "straight"), of(tmp_path / "resumed")
    straight.train()
    kept = {path.name for path in (tmp_path / "straight").glob("checkpoint-*")}
    assert kept == {
        "checkpoint-4",
        "checkpoint-6",
        "checkpoint-7",
    }  # 3 waits for 4; the last step is always kept
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-4"))
    assert torch.equal(training.vector(straight.model), training.vector(resumed.model))


def test_a_stop_waits_until_its_generation_is_used_up(tmp_path: Path) -> None:
    stop = CleanStop(time_limit=0.0)
    options = {"callbacks": [stop]}
    trainer = training.trainer(
        tmp_path,
        training.policy(),
        max_steps=50,
        save_strategy="steps",
        save_steps=40,
        options=options,
        num_iterations=3,
    )
    trainer.train()
    assert trainer.state.global_step == 3
    assert (tmp_path / "checkpoint-3" / "trainer_state.json").is_file()


def test_each_pass_over_the_data_has_an_order_of_its_own_and_the_first_that_of_stock_trl(
    tmp_path: Path,
) -> None:
    questions = [f"{place}+1" for place in range(24)]
    trainer = training.trainer(tmp_path, training.policy(), questions=questions)
    orders = []
    for epoch in (0.0, 1.0, 1.5, 2.0):
        trainer.state.epoch = epoch
        orders.append(list(trainer._get_train_sampler()))
    assert orders[0] == list(GRPOTrainer._get_train_sampler(trainer))
    assert orders[1] == orders[2]
    assert len({tuple(order) for order in orders}) == 3
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[3])


def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(tmp_path: Path) -> None:
    sent: list[int] = []

    def once(completion: str, completion_ids: list[int]) -> float:
        if not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return training.digest(completion, completion_ids)

    stop = CleanStop().listen()
    try:
        trainer = training.trainer(
            tmp_path, training.policy(), reward=once, max_steps=5, options={"callbacks": [stop]}
        )
        trainer.train()
    finally:
        stop.forget()
    assert (trainer.state.global_step, stop.signal, stop.reason) == (1, signal.SIGTERM, "SIGTERM")
    assert (tmp_path / "checkpoint-1" / "trainer_state.json").is_file()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_best_checkpoint_is_the_one_with_the_highest_held_out_accuracy(tmp_path: Path) -> None:
    run, saved = new_run(tmp_path), []
    figures = iter([0.25, 0.75, 0.5, 0.75])
    made = training.policy()

    def save(folder: Path) -> None:
        made.save(folder)
        saved.append(trainer.state.global_step)

    best = BestCheckpoint(run, 1, lambda _: {"accuracy": next(figures)}, save)
    trainer = training.trainer(
        tmp_path / "out", made, options={"run": run, "callbacks": [best]}, max_steps=4
    )
    trainer.train()
    assert saved == [1, 2]
    assert damage(run.best_dir) is None
    assert run.manifest["best"] == {"step": 2, "accuracy": 0.75}
    assert [line["accuracy"] for line in run.metrics("eval")] == [0.25, 0.75, 0.5, 0.75]
    again = BestCheckpoint(Run.open(run.path), 1, lambda _: {"accuracy": 0.6}, saved.append)
    assert again.best == 0.75


def test_vllm_gets_every_stop_id_and_its_completions_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM itself needs a GPU: a stand-in with its interface, for which the policy's generator
    writes.
    """
    made, asked = training.policy(stop=["+"]), {}

    class Engine:
        def __init__(self, **settings: Any) -> None:
            asked.update(settings)

        def sync_weights(self) -> None:
            asked["synced"] = asked.get("synced", 0) + 1

        def generate(self, prompts: list[list[int]], num_generations: int, **_: Any) -> Any:
            action = made.act(prompts, max_new_tokens=6)
            log_probs = [[[value] for value in row.tolist()] for row in action.log_prob]
            kept = [row[: len(ids)] for row, ids in zip(log_probs, action.value, strict=True)]
            return prompts, action.value, kept, None

    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Engine)
    run = new_run(tmp_path)
    options = {"run": run}
    trainer = training.trainer(
        tmp_path / "out", made, options=options, use_vllm=True, vllm_mode="colocate", max_steps=2
    )
    before = training.vector(made.model)
    trainer.train()
    assert (
        set(asked["generation_kwargs"]["stop_token_ids"])
        == set(made.stop_ids)
        > {made.tokenizer.eos_token_id}
    )
    assert asked["synced"] == 2
    assert trainer.ways.path == "group"
    assert not torch.equal(training.vector(made.model), before)
    kept = list(run.rollouts())
    assert len(kept) == 16
    assert all(len(row["log_probs"]) == len(row["token_ids"]) for row in kept)


def test_a_time_limit_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    stop = CleanStop(time_limit=0.0)
    trainer = training.trainer(
        tmp_path,
        training.policy(),
        max_steps=50,
        save_strategy="steps",
        save_steps=40,
        options={"callbacks": [stop]},
    )
    trainer.train()
    assert (trainer.state.global_step, stop.reason) == (1, "time limit")
    assert (tmp_path / "checkpoint-1" / "trainer_state.json").is_file()


def test_the_progress_line_says_what_matters() -> None:
    logs = {
        "reward": 0.5, "rewards/exact/mean": 0.4, "rewards/length/mean": 0.1, "advantages/live": 0.75,
        "completions/clipped_ratio": 0.1, "seconds/generation": 1.0, "seconds/rewards": 0.25, "step_time": 3.0,
    }  # fmt: skip
    assert (
        progress_line(5, 20, logs, 65)
        == "step 5/20  reward 0.500 (exact 0.400, length 0.100)  signal in 75% of groups  truncated"
        " 10%  gen 1.00s + rewards 0.25s + update 1.75s  1:05 left"
    )


@pytest.mark.parametrize(
    ("live", "words"),
    [(0.0, "nothing was learned"), (0.5, "the loss is about 0 and that is right")],
)
def test_a_loss_of_zero_is_explained_by_what_it_is(live: float, words: str) -> None:
    said: list[str] = []
    state = TrainerState(global_step=1, max_steps=2, is_world_process_zero=True)
    logs = {"reward": 0.0, "loss": 0.0, "advantages/live": live}
    Progress(said.append).on_log(None, state, None, logs=logs)  # type: ignore[arg-type]
    assert words in said[-1]


def one_row_judged(row: int, completion_ids: list[int], seen: set[int] = set()) -> float | None:  # noqa: B006
    """A group of which one row alone was judged cannot be compared: TRL's advantages of it are
    0.
    """
    first, _ = row not in seen, seen.add(row)
    return 1.0 if first else None


def constant(row: int) -> float:
    return 0.1 * (row + 1)  # its mean in 32 bits is not itself for every row


NOISY = {
    "multi_objective_aggregation": "normalize_then_sum",
    "num_generations": 8,
    "per_device_train_batch_size": 16,
}


@pytest.mark.parametrize(
    ("reward", "settings"),
    [(one_row_judged, {}), ([constant, lambda row: 0.7], NOISY)],
)
def test_the_signal_that_is_shown_is_that_of_the_advantages(
    tmp_path: Path, reward: Any, settings: dict
) -> None:
    said: list[str] = []
    options = {"callbacks": [Progress(said.append)]}
    trainer = training.trainer(
        tmp_path, training.policy(), reward=reward, options=options, **settings
    )
    before = training.vector(trainer.model)
    trainer.train()
    assert torch.equal(training.vector(trainer.model), before)
    assert "signal in 0% of groups" in said[0]
    assert "nothing was learned from this step: all advantages are 0" in said[1]


@pytest.mark.parametrize(
    "loss", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
)
def test_every_loss_type_is_reachable_and_moves_the_policy(tmp_path: Path, loss: str) -> None:
    made = training.policy()
    before = training.vector(made.model)
    trainer = training.trainer(tmp_path, made, loss_type=loss, max_steps=2)
    trainer.train()
    assert torch.isfinite(training.vector(made.model)).all()
    assert (training.vector(made.model) - before).norm() > 1e-4


def test_a_group_wise_reward_sees_one_prompts_group(tmp_path: Path) -> None:
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.rewards import Rewards, RewardSpec

    sizes: list[int] = []

    def rank(completions: list[str], row: list[int]) -> list[float]:
        sizes.append(len(completions))
        assert len(set(row)) == 1
        return [float(i) for i in range(len(completions))]

    made = training.policy()
    rewards = Rewards([RewardSpec(rank, style="group")], isolate=False)
    PolicyTrainer(
        made,
        rewards,
        training.rows(),
        training.config(tmp_path),
        optimizers=training.sgd(made.model),
    ).train()
    assert sizes == [4, 4]
