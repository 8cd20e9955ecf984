"""explain accepts what TRL accepts, counts what TRL's sampler and the training loop do, and advises
what works.
"""

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from transformers import Trainer
from trl import GRPOConfig
from trl.trainer.utils import RepeatSampler

from llmpolicy.errors import RecipeError
from llmpolicy.plan import Explanation, explain_grpo
from llmpolicy.plan.batch import Batch, nearest_valid
from llmpolicy.session.evaluate import explain_recipe

SMALL = st.integers(1, 12)
KNOBS = st.fixed_dictionaries(
    {
        "per_device_train_batch_size": SMALL,
        "gradient_accumulation_steps": st.integers(1, 6),
        "num_generations": SMALL,
        "num_iterations": st.integers(1, 3),
    },
    optional={
        "steps_per_generation": st.integers(1, 6),
        "generation_batch_size": st.integers(1, 96),
    },
)


@st.composite
def possible(draw: st.DrawFn) -> tuple[dict[str, int], int]:
    """A block that TRL accepts, and a number of processes."""
    device, accumulation, processes = draw(SMALL), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    steps = draw(st.one_of(st.none(), st.integers(1, 6)))
    generation = device * processes * (steps or accumulation)
    assume(generation >= 2)
    grpo = {
        "per_device_train_batch_size": device,
        "gradient_accumulation_steps": accumulation,
        "num_generations": draw(
            st.sampled_from([g for g in range(2, generation + 1) if generation % g == 0])
        ),
        "num_iterations": draw(st.integers(1, 3)),
    }
    if steps is not None:
        knob = draw(st.sampled_from(["steps_per_generation", "generation_batch_size"]))
        grpo[knob] = steps if knob == "steps_per_generation" else generation
    return grpo, processes


POSSIBLE = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 4,
    "num_generations": 8,
    "max_completion_length": 64,
}


@functools.cache
def trl_accepts(frozen: tuple[tuple[str, int], ...], processes: int) -> tuple[int, int] | None:
    """What GRPOConfig makes of the block on that many processes: (steps_per_generation,
    generation_batch_size).
    """
    with patch.object(GRPOConfig, "world_size", PropertyMock(return_value=processes)):
        try:
            config = GRPOConfig(
                output_dir="unused", use_cpu=True, bf16=False, report_to=[], **dict(frozen)
            )
        except ValueError:
            return None
    return config.steps_per_generation, config.generation_batch_size


def try_explain(grpo: dict[str, int], rows: int, processes: int) -> Explanation | None:
    try:
        return explain_grpo(grpo, rows=rows, processes=processes)
    except RecipeError:
        return None


@settings(max_examples=120, deadline=None)
@given(KNOBS, st.integers(1, 4))
def test_we_accept_exactly_what_trl_accepts(grpo: dict[str, int], processes: int) -> None:
    theirs = trl_accepts(tuple(sorted(grpo.items())), processes)
    ours = try_explain(grpo, 1000, processes)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert (
            ours.arithmetic.steps_per_generation,
            ours.arithmetic.generation_batch_size,
        ) == theirs


@settings(max_examples=30, deadline=None)
@given(KNOBS, st.integers(1, 4), st.integers(1, 40))
@example(
    {
        "per_device_train_batch_size": 6, "gradient_accumulation_steps": 1, "num_generations": 1, "num_iterations": 1,
        "generation_batch_size": 1,
    },
    3,
    1,
)  # fmt: skip
def test_a_refusal_advises_what_trl_accepts(
    grpo: dict[str, int], processes: int, rows: int
) -> None:
    assume(try_explain(grpo, rows, processes) is None)
    batch = Batch(
        **{"steps_per_generation": None, "generation_batch_size": None, **grpo}, processes=processes
    )
    ways = nearest_valid(batch, rows)
    both = {"steps_per_generation", "generation_batch_size"} <= grpo.keys()
    assert ways or both
    for way in ways:
        changed = {key: value for key, value in {**grpo, **way}.items() if value is not None}
        accepted = trl_accepts(tuple(sorted(changed.items())), processes)
        assert accepted is not None
        assert accepted[1] // changed["num_generations"] <= rows


@dataclasses.dataclass
class Walk:
    """What a walk through a whole run saw."""

    steps: int = 0
    generations: int = 0
    stalest: int = 0
    whole_groups: bool = True
    rollouts: set[int] = dataclasses.field(default_factory=set)


def walk(a: Any, grpo: dict[str, int], passes: int, limit: float = math.inf) -> Walk:
    """Go through a run of at most ``limit`` steps as transformers does, by batches of TRL's sampler
    on each process.
    """
    seen = Walk()
    group, uses = grpo["num_generations"], a.steps_per_generation * grpo["num_iterations"]
    sampled_at = 0
    for _ in range(passes):
        ranks = [list(local_batches(a, grpo, rank)) for rank in range(a.processes)]
        assert len({len(batches) for batches in ranks}) == 1
        for micro, batches in enumerate(zip(*ranks, strict=True)):
            if seen.steps == limit:
                return seen
            if micro % uses == 0:
                seen.generations, sampled_at = seen.generations + 1, seen.steps
                assert (
                    len({index for batch in batches for index in batch}) == a.prompts_per_generation
                )
                for batch in batches:
                    seen.whole_groups &= all(batch.count(index) == group for index in batch)
            seen.stalest = max(seen.stalest, seen.steps - sampled_at)
            done = micro + 1
            if done % grpo["gradient_accumulation_steps"] == 0 or done == len(ranks[0]):
                seen.steps += 1
                size = (micro % grpo["gradient_accumulation_steps"]) + 1
                seen.rollouts.add(size * grpo["per_device_train_batch_size"] * a.processes)
    return seen


def local_batches(a: Any, grpo: dict[str, int], rank: int) -> BatchSamplerShard:
    """One process's generation batches in a pass, from TRL's sampler and accelerate's sharding."""
    sampler = RepeatSampler(
        range(a.rows),
        mini_repeat_count=grpo["num_generations"],
        batch_size=a.generation_batch_size // grpo["num_generations"],
        repeat_count=grpo["num_iterations"] * a.steps_per_generation,
        seed=0,
    )
    size = grpo["per_device_train_batch_size"] * a.steps_per_generation
    batches = torch.utils.data.BatchSampler(sampler, size, drop_last=False)
    return BatchSamplerShard(batches, a.processes, rank)


@settings(max_examples=80, deadline=None)
@given(possible(), st.integers(0, 9), st.integers(1, 3))
def test_the_counts_are_those_of_a_walk_through_the_run(
    block: tuple[dict[str, int], int], more: int, passes: int
) -> None:
    grpo, processes = block
    prompts = explain_grpo(grpo, rows=1000, processes=processes).arithmetic.prompts_per_generation
    a = explain_grpo(
        {**grpo, "num_train_epochs": passes}, rows=prompts + more, processes=processes
    ).arithmetic
    seen = walk(a, grpo, passes)
    assert (a.optimiser_steps, a.generations) == (seen.steps, seen.generations)
    assert a.optimiser_steps == passes * a.optimiser_steps_per_pass
    assert a.groups_span_ranks == (not seen.whole_groups)
    assert seen.stalest <= a.staleness
    assert max(seen.rollouts) <= a.rollouts_per_step


@settings(max_examples=80, deadline=None)
@given(possible(), st.integers(0, 9), st.integers(1, 40))
def test_a_run_that_ends_inside_a_pass_is_counted_too(
    block: tuple[dict[str, int], int], more: int, steps: int
) -> None:
    grpo, processes = block
    prompts = explain_grpo(grpo, rows=1000, processes=processes).arithmetic.prompts_per_generation
    a = explain_grpo(
        {**grpo, "max_steps": steps}, rows=3 * prompts + more, processes=processes
    ).arithmetic
    seen = walk(a, grpo, passes=math.ceil(a.passes), limit=steps)
    assert (
        (a.optimiser_steps, a.generations)
        == (seen.steps, seen.generations)
        == (steps, seen.generations)
    )
    assert a.rollouts == seen.generations * a.generation_batch_size


@settings(max_examples=60, deadline=None)
@given(possible())
def test_a_long_pass_shows_the_full_staleness_and_step(block: tuple[dict[str, int], int]) -> None:
    grpo, processes = block
    prompts = explain_grpo(grpo, rows=1000, processes=processes).arithmetic.prompts_per_generation
    a = explain_grpo(
        grpo, rows=prompts * 7, processes=processes
    ).arithmetic  # 7 > 6: all places in a step are begun at
    seen = walk(a, grpo, 1)
    assert a.on_policy == (seen.stalest == 0)
    assert (a.staleness, a.rollouts_per_step) == (seen.stalest, max(seen.rollouts))


@settings(max_examples=200, deadline=None)
@given(
    possible(), st.integers(36, 300), st.one_of(st.integers(1, 500), st.just(-1)), st.floats(0.1, 5)
)
def test_the_run_is_as_long_as_the_trainer_says(
    block: tuple[dict[str, int], int], rows: int, max_steps: int, epochs: float
) -> None:
    grpo, processes = block
    lengths = {"max_steps": max_steps, "num_train_epochs": epochs}
    rows = max(
        rows, explain_grpo(grpo, rows=1000, processes=processes).arithmetic.prompts_per_generation
    )
    a = explain_grpo({**grpo, **lengths}, rows=rows, processes=processes).arithmetic
    arguments = FakeArguments(grpo["gradient_accumulation_steps"], max_steps, epochs)
    found = Trainer.set_initial_training_values(FakeTrainer(), arguments, local_batches(a, grpo, 0))
    assert (a.optimiser_steps_per_pass, a.optimiser_steps) == (found[1], found[6])
    assert math.ceil(a.passes) == found[0] or max_steps < 0


@dataclasses.dataclass
class FakeArguments:
    gradient_accumulation_steps: int
    max_steps: int
    num_train_epochs: float


class FakeTrainer:
    """The few questions that transformers' count of steps asks of a trainer."""

    def get_total_train_batch_size(self, args: Any) -> int:
        return 1

    def get_sp_size(self) -> int:
        return 1

    def num_examples(self, dataloader: Any) -> int:
        return len(dataloader)


def test_the_defaults_are_those_of_the_installed_trl() -> None:
    fields = {field.name: field for field in dataclasses.fields(GRPOConfig)}
    stock = [v for v in explain_grpo(POSSIBLE, rows=101).values if v.source == "TRL default"]
    assert len(stock) > 15
    for value in stock:
        default = fields[value.name].default
        assert value.note or getattr(default, "value", default) == value.value, value.name


def test_the_arithmetic_in_literal_numbers() -> None:
    a = explain_grpo(POSSIBLE, rows=101, mean_prompt_tokens=30.0).arithmetic
    assert (a.prompts_per_generation, a.rollouts_per_generation, a.rollouts_per_step) == (2, 16, 16)
    assert (a.on_policy, a.staleness, a.optimiser_steps_per_generation, a.prompts_per_step) == (
        True,
        0,
        1,
        2,
    )
    assert (a.rows_left_out_per_pass, a.optimiser_steps_per_pass, a.optimiser_steps, a.passes) == (
        1,
        50,
        150,
        3,
    )
    assert (a.generated_tokens_per_generation, a.tokens_per_step) == (16 * 64, 16 * (30 + 64))
    assert (a.generations, a.rollouts, a.groups_span_ranks) == (150, 2400, False)


def test_stale_rollouts_and_split_groups_are_said() -> None:
    reused = explain_grpo({**POSSIBLE, "num_iterations": 3}, rows=100)
    assert (reused.arithmetic.staleness, reused.arithmetic.optimiser_steps_per_generation) == (2, 3)
    assert "off-policy, rollouts up to 2 steps old" in str(reused)
    split = explain_grpo({**POSSIBLE, "gradient_accumulation_steps": 1}, rows=100, processes=2)
    assert split.arithmetic.groups_span_ranks
    assert any("groups span processes" in note for note in split.notes)
    assert "1 new prompts, for per_device_train_batch_size counts completions" in str(split)


def test_notes_say_what_is_wasted_or_uneven() -> None:
    def notes(**changes: Any) -> str:
        return " ".join(explain_grpo({**POSSIBLE, **changes}, rows=101).notes)

    assert notes() == ""
    assert "repeats the same gradient" in notes(steps_per_generation=2, num_iterations=2)
    assert "begin inside a step" in notes(steps_per_generation=6)
    assert "has fewer rollouts" in notes(steps_per_generation=6)
    assert "needs a GPU" in notes(use_vllm=True)
    assert explain_grpo({**POSSIBLE, "use_vllm": True}, rows=101, target="gpu").notes == ()


def test_every_value_says_who_set_it() -> None:
    explanation = explain_grpo({**POSSIBLE, "max_steps": 20}, rows=100, overrides={"max_steps"})
    values = {value.name: value for value in explanation.values}
    assert (values["num_generations"].value, values["num_generations"].source) == (8, "recipe")
    assert (values["max_steps"].value, values["max_steps"].source) == (20, "override")
    assert (values["bf16"].value, values["bf16"].source) == (False, "llmpolicy default")
    assert (values["loss_type"].value, values["loss_type"].source) == ("dapo", "TRL default")
    assert (values["steps_per_generation"].value, values["steps_per_generation"].note) == (
        4,
        "gradient_accumulation_steps",
    )
    on_gpu = {value.name: value for value in explain_grpo(POSSIBLE, rows=100, target="gpu").values}
    assert (on_gpu["bf16"].value, on_gpu["bf16"].source) == (None, "TRL default")


def test_the_record_survives_json_and_the_text_names_each_value() -> None:
    explanation = explain_grpo(POSSIBLE, rows=100)
    data = json.loads(json.dumps(explanation.to_dict()))
    assert data == explanation.to_dict()
    assert data["schema"] == 1
    assert data["arithmetic"]["rollouts_per_step"] == 16
    assert all(f"  {value['name']} " in str(explanation) for value in data["values"])


@pytest.mark.parametrize(
    ("changes", "rows", "said"),
    [
        ({"num_generations": 1}, 100, "num_generations is 1; expected at least 2"),
        (
            {"num_generations": 6},
            100,
            (
                "16 completions of a generation (per_device_train_batch_size 4 x processes 1 x"
                " gradient_accumulation_steps 4) are not a multiple of num_generations 6; nearest"
                " valid: gradient_accumulation_steps: 3, or gradient_accumulation_steps: 6, or"
                " per_device_train_batch_size: 3, or per_device_train_batch_size: 6, or"
                " num_generations: 4, or num_generations: 8"
            ),
        ),
        (
            {"generation_batch_size": 18},
            100,
            "18 is not a multiple of 4 (per_device_train_batch_size 4 x processes 1)",
        ),
        (
            {"generation_batch_size": 16, "steps_per_generation": 4},
            100,
            "both set; expected one of them; nearest valid:",
        ),
        ({}, 1, "1 training rows but one generation takes 2 prompts"),
        ({"num_iterations": 0}, 100, "num_iterations is 0; expected a whole number of at least 1"),
        ({"num_generations": "8"}, 100, "num_generations is '8'"),
        ({"per_device_train_batch_size": True}, 100, "per_device_train_batch_size is True"),
        ({"max_steps": 0}, 100, "max_steps is 0"),
        ({"num_train_epochs": 0}, 100, "num_train_epochs is 0"),
        ({"auto_find_batch_size": True}, 100, "auto_find_batch_size is true"),
    ],
)
def test_the_impossible_is_refused_in_a_sentence(
    changes: dict[str, Any], rows: int, said: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        explain_grpo({**POSSIBLE, **changes}, rows=rows)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="--for gpus: no such target; did you mean 'gpu'"):
        explain_grpo(POSSIBLE, rows=100, target="gpus")


def test_a_recipe_is_explained_with_its_rows_and_overrides(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"{i} + {i} = ?", "answer": str(2 * i)}) for i in range(50)]
    (tmp_path / "sums.jsonl").write_text("\n".join(lines))
    (tmp_path / "toy.yaml").write_text(
        "model: no/where\n"
        "task: {file: sums.jsonl, prompt: '{question}'}\n"
        "rewards: ['reward_fns.exact:match']\n"
        "grpo: {per_device_train_batch_size: 8, gradient_accumulation_steps: 4}\n"
    )
    explanation = explain_recipe(
        str(tmp_path / "toy.yaml"), ["grpo.num_generations=4", "grpo.max_steps=10"]
    )
    assert explanation.grpo is not None
    values = {value.name: (value.value, value.source) for value in explanation.grpo.values}
    assert explanation.grpo.arithmetic.rows == 50
    assert (values["num_generations"], values["max_steps"]) == ((4, "override"), (10, "override"))
    assert values["gradient_accumulation_steps"] == (4, "recipe")
    assert explanation.grpo.arithmetic.optimiser_steps_per_pass == 6
    blocks = {value.name: (value.value, value.source, value.note) for value in explanation.blocks}
    assert blocks["model.path"] == ("no/where", "recipe", "toy.yaml:1")
    assert blocks["task.0.prompt"] == ("{question}", "recipe", "toy.yaml:2")
    assert blocks["rewards.0.fn"] == ("reward_fns.exact:match", "recipe", "toy.yaml:3")
    assert blocks["rewards.0.style"] == ("single", "llmpolicy default", "")
    assert (
        explanation.reward[0] == "reward = exact.match"
        and "role: correctness" in explanation.reward[1]
    )
    assert not any(name.startswith("grpo") for name in blocks)
    data = explanation.to_dict()
    assert data == json.loads(json.dumps(data))
    assert data.keys() == explanation.grpo.to_dict().keys() | {
        "blocks",
        "reward",
        "lacking",
        "ways",
    }


def test_a_recipe_without_grpo_says_where_its_values_came_from(tmp_path: Path) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text(
        "environment:\n  id: CartPole-v1\nreinforce: {baseline: time_step, updates: 1,"
        " learning_rate: 1}\nevaluate: {}\n"
    )
    explanation = explain_recipe(str(path), ["reinforce.learning_rate=3e-4"])
    blocks = {value.name: (value.value, value.source, value.note) for value in explanation.blocks}
    assert explanation.grpo is None
    assert blocks["environment.id"] == ("CartPole-v1", "recipe", "cart.yaml:2")
    assert blocks["reinforce.learning_rate"] == (3e-4, "override", "")
    assert blocks["evaluate.episodes"] == (100, "llmpolicy default", "")
    assert "arithmetic" not in str(explanation)
    assert all(f"  {name} " in str(explanation) for name in blocks)
    assert explanation.to_dict()["schema"] == 1


def test_a_recipe_that_trains_its_own_reward_model_is_explained() -> None:
    explanation = explain_recipe("rlhf_tiny")
    assert explanation.grpo is not None
    assert any("reward_model.score" in line for line in explanation.reward)
