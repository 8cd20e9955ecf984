"""What cannot be right is refused in one sentence, by explain as by train, with what wrote it and
what is expected.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmpolicy.errors import LLMPolicyError, PolicyError, RecipeError, RewardError, TaskError
from llmpolicy.plan import model_path, plan_recipe
from llmpolicy.recipe import ModelBlock, load_recipe
from llmpolicy.recipe.grpo import STAGES
from llmpolicy.recipe.needs import OPTIMISERS, TORCH_OPTIMISERS, TRACKERS
from llmpolicy.recipe.ranges import LORA_RANGES, RANGES, expected_of
from llmpolicy.recipe.trl import config_fields
from llmpolicy.session import evaluate_model, train, train_recipe
from llmpolicy.session.evaluate import explain_recipe

RECIPE = """model: bundled
task: {file: rows.jsonl, prompt: "{question}"}
rewards: [exact:match]
evaluate: {correct: exact:match, n: 4}
grpo: {max_steps: 2, per_device_train_batch_size: 8, num_generations: 4, max_completion_length: 4}
"""
REWARD = "def f(completion, answer):\n    return float(answer == completion)\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = [json.dumps({"question": f"{n}+1", "answer": str(n + 1)}) for n in range(20)]
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "mine.yaml").write_text(RECIPE)
    return folder / "mine.yaml"


OUTSIDE: dict[str, list[Any]] = {
    "max_steps": [-5, 0, -2], "beta": [-1], "epsilon": [-0.2], "epsilon_high": [-0.1], "delta": [0.5, -1],
    "temperature": [0, -1, ".inf", ".nan"], "learning_rate": [-1e-4, ".nan", ".inf"], "num_generations": [1, 0],
    "top_p": [0, 1.5], "min_p": [-0.1, 2], "top_k": [-1], "repetition_penalty": [0], "max_completion_length": [0, -3],
    "num_iterations": [0], "per_device_train_batch_size": [0], "gradient_accumulation_steps": [0],
    "steps_per_generation": [0], "generation_batch_size": [-8], "warmup_steps": [-1, 1.5], "weight_decay": [-0.1],
    "adam_beta1": [1, -0.1], "adam_beta2": [1.0], "adam_epsilon": [-1], "max_grad_norm": [-1], "save_steps": [0, -1, 2.5],
    "logging_steps": [0, -1], "save_total_limit": [0], "num_train_epochs": [0, -1], "top_entropy_quantile": [1.5],
    "ref_model_mixup_alpha": [2], "ref_model_sync_steps": [0], "entropy_coef": [-1], "data_seed": [-1],
    "sapo_temperature_pos": [0], "vllm_gpu_memory_utilization": [0, 1.5], "router_aux_loss_coef": [-1],
}  # fmt: skip
TEXTS = {
    "loss_type": "grp", "scale_rewards": "grop", "lr_scheduler_type": "cosin", "optim": "adam", "report_to": "wand",
    "importance_sampling_level": "tokens", "multi_objective_aggregation": "sum", "vllm_mode": "colocated",
}  # fmt: skip


@pytest.mark.parametrize(
    "override", [f"grpo.{key}={value}" for key, values in OUTSIDE.items() for value in values]
)
def test_a_number_that_cannot_be_meant_is_refused_before_anything_is_planned(
    recipe: Path, override: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        load_recipe(recipe, [override, "allow_biased_sampler=true"])
    assert str(refusal.value).startswith(f"override {override}: {override.split('=')[0]} is ")
    assert "; expected " in str(refusal.value)


@pytest.mark.parametrize("key", ["beta", "learning_rate", "epsilon"])
def test_a_number_in_the_file_is_refused_with_its_line(recipe: Path, key: str) -> None:
    recipe.write_text(f"{RECIPE[:-2]}, {key}: -3}}\n")
    with pytest.raises(RecipeError, match=f"^mine.yaml:5: grpo.{key} is -3; expected "):
        load_recipe(recipe)


def test_ranges_are_of_fields_that_exist_and_hold_the_bounds_that_they_tell() -> None:
    known = {
        *config_fields("GRPOConfig"),
        *(key for kind in STAGES.values() for key in config_fields(kind)),
    }
    keys = [key for keys in RANGES.values() for key in keys]
    assert set(keys) <= known and len(keys) == len(set(keys))
    numeric = {
        key
        for key, kind in config_fields("GRPOConfig").items()
        if re.search(r"\b(int|float)\b", kind)
    }
    assert numeric - set(keys) <= {
        "seed",
        "eval_delay",
        "trackio_static_space_id",
        "local_rank",
        "reward_weights",
    }
    assert [
        expected_of("warmup_steps", value) == "" for value in (0, 0.5, 0.999, 1, 7, 1.5, -1)
    ] == [True] * 5 + [False] * 2
    assert [expected_of("top_p", value) == "" for value in (0, 1e-9, 1, 1.01)] == [
        False,
        True,
        True,
        False,
    ]
    assert expected_of("use_vllm", True) == "" and expected_of("r", 0, LORA_RANGES)


@pytest.mark.parametrize(
    "override",
    ["grpo.max_steps=-5", *(f"grpo.{key}={value}" for key, value in TEXTS.items()), "grpo.lr_scheduler_type=greedy",
     "grpo.max_prompt_length=9", "max_steps=3", "grpo.tools=[a]", "rollout_func=a", "model.lora.r=0", "time_limit=-5",
     "grpo.num_generations=3", "evaluate.max_completion_length=0", "rewards=[{fn: exact:match, weight: 0}]",
     "model.lora={rank: 4}"],
)  # fmt: skip
def test_explain_refuses_what_train_refuses_in_the_same_words(
    recipe: Path, override: str, tmp_path: Path
) -> None:
    said = []
    for ask in (
        lambda: explain_recipe(str(recipe), [override]),
        lambda: train_recipe(str(recipe), [override], dry_run=True),
    ):
        with pytest.raises(LLMPolicyError) as refusal:
            ask()
        said.append(str(refusal.value))
    assert said[0] == said[1] and "\n" not in said[0]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("max_steps=3", "did you mean 'grpo.max_steps'?"),
        ("lora={r: 4}", "did you mean 'model.lora'?"),
        ("correct=exact:match", "did you mean 'evaluate.correct'?"),
        ("grpo.max_prompt_length=5", "write `max_prompt_tokens: N` at the top"),
        ("grpo.time_limit=5m", "`time_limit:` stands at the top of the recipe"),
        ("grpo.optim=adamw", "did you mean 'adamw_torch'?"),
        ("grpo.environment_factory=x", "write `environment: path.py:Class`"),
        ("grpo.max_tool_calling_iterations=3", "write `environment: {turns: N}`"),
        ("grpo.tools=[x]", "write `environment: {tools: [path.py:function]}`"),
        ("tools=[x]", "write `environment: {tools: [path.py:function]}` at the top"),
    ],
)
def test_an_unknown_key_is_answered_with_where_it_belongs(
    recipe: Path, override: str, meant: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        load_recipe(recipe, [override])
    assert meant in str(refusal.value)


def test_a_new_adapter_on_top_of_a_continued_one_is_refused(recipe: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"^override model.lora.*model.adapter is continued as it is"
    ):
        load_recipe(recipe, ["model.adapter=runs/one/policy", "model.lora={r: 4}"])
    assert load_recipe(recipe, ["model.adapter=runs/one/policy", "model.lora=null"]).model


@pytest.mark.parametrize(
    ("setting", "package"),
    [("use_vllm=true", "vllm"), ("use_liger_kernel=true", "liger-kernel"), ("deepspeed=zero.json", "deepspeed"),
     ("optim=adamw_bnb_8bit", "bitsandbytes"), ("optim=adamw_torch_4bit", "torchao"), ("report_to=[wandb]", "wandb")],
)  # fmt: skip
def test_a_package_that_is_missing_is_said_before_a_model_loads(
    recipe: Path, setting: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, absent = importlib.util.find_spec, (package, package.replace("-", "_"))
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name in absent else there(name)
    )
    words = f"override grpo.{setting}: grpo.{setting.split('=')[0]}: "
    with pytest.raises(RecipeError) as refusal:
        train_recipe(str(recipe), [f"grpo.{setting}", "model.path=no/model"])
    assert str(refusal.value).startswith(
        words
    ) and f"the package {package}, which is not installed" in str(refusal.value)


def test_optimisers_and_trackers_are_those_of_transformers() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
    from transformers.training_args import OptimizerNames

    assert set(TRACKERS) == set(INTEGRATION_TO_CALLBACK)
    for optimiser in OptimizerNames:
        known = any(re.fullmatch(pattern, optimiser.value) for pattern in OPTIMISERS)
        assert known or optimiser.value in TORCH_OPTIMISERS, optimiser


# Where paths start from


def test_paths_of_an_override_start_from_the_current_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "mine.py").write_text(REWARD)
    (recipe.parent / "mine.py").write_text("def f(completion):\n    return 9.0\n")
    (here / "other.jsonl").write_text('{"question": "here", "answer": "1"}\n')
    (here / "adapter").mkdir()
    asked = [
        "rewards=mine.py:f",
        "evaluate.correct=mine.py:f",
        "task.file=other.jsonl",
        "model.adapter=adapter",
    ]
    made = load_recipe(recipe, asked)
    assert [block.fn for block in made.rewards] == [f"{here}/mine.py:f"]
    assert made.evaluate and made.evaluate.correct == f"{here}/mine.py:f"
    assert (
        made.task[0].file == str(here / "other.jsonl")
        and made.model
        and made.model.adapter == str(here / "adapter")
    )
    inner = load_recipe(recipe, ["rewards=[{min: [mine.py:f, exact:match], weight: 2}]"]).rewards[0]
    assert inner.min and [one.fn for one in inner.min] == [f"{here}/mine.py:f", "exact:match"]
    recipe.write_text(
        RECIPE.replace("exact:match]", "mine.py:f]")
    )  # written in the recipe: beside it
    assert plan_recipe(load_recipe(recipe)).rewards.components[0].function("") == 9.0


def test_a_file_that_lies_at_the_other_place_is_named(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(REWARD)
    recipe.write_text(RECIPE.replace("exact:match]", "mine.py:f]"))
    with pytest.raises(RewardError) as refusal:
        plan_recipe(load_recipe(recipe))
    assert (
        f"{tmp_path}/mine.py is in the current folder; a path written in a recipe starts from"
        in str(refusal.value)
    )
    with pytest.raises(
        RewardError, match=f"no file {recipe.parent}/gone.py, nor {tmp_path}/gone.py"
    ):
        plan_recipe(load_recipe(recipe, ["rewards=gone.py:f"]))
    assert train.__doc__  # the same from Python:
    with pytest.raises(RewardError, match="gone.py"):
        train(recipe, rewards=["gone.py:f"], out=tmp_path / "run")


# A thing where another is expected


def test_a_folder_where_a_file_is_expected_is_said(recipe: Path) -> None:
    (recipe.parent / "data").mkdir()
    (recipe.parent / "mine.py").mkdir()
    with pytest.raises(TaskError, match="data is a folder; expected a data file"):
        plan_recipe(load_recipe(recipe, ["task.file=data"]))
    with pytest.raises(RewardError, match=r"mine\.py is a folder; expected a Python file"):
        plan_recipe(load_recipe(recipe, ["rewards=mine.py:f"]))


def test_a_run_is_no_model_and_no_recipe(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs/one"
    (run / "policy").mkdir(parents=True)
    for name in ("manifest.json", "recipe.yaml"):
        (run / name).write_text("{}")
    with pytest.raises(
        PolicyError, match=f"{run} is a run, not a model; what it trained is {run}/policy"
    ):
        plan_recipe(load_recipe(recipe, [f"model.path={run}"]))
    with pytest.raises(
        RecipeError, match=f"{run} is a run, not a recipe; its recipe is {run}/recipe.yaml"
    ):
        load_recipe(run)
    with pytest.raises(PolicyError, match=f"{run} is a run, not an adapter"):
        explain_recipe(str(recipe), [f"model.adapter={run}"])
    with pytest.raises(RecipeError, match="rows.jsonl is a data file; expected a recipe"):
        load_recipe(recipe.parent / "rows.jsonl")
    with pytest.raises(RecipeError, match="there is no run at runs/nowhere"):
        evaluate_model("runs/nowhere", None, [])
    (run / "policy/adapter_config.json").write_text("{}")
    with pytest.raises(
        PolicyError, match="policy is an adapter, not a model; write model.path as its base"
    ):
        model_path(ModelBlock(path=str(run / "policy")), None)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("gpt2", "openai-community/gpt2"),
        ("Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("something", ""),
    ],
)
def test_the_owner_of_a_well_known_model_is_named(name: str, whole: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        model_path(ModelBlock(path=name), None)
    assert (f"did you mean {whole!r}?" in str(refusal.value)) == bool(whole)


def test_a_ratio_that_is_cut_below_1_is_noted(recipe: Path) -> None:
    assert "so every token weighs 0.2" in str(explain_recipe(str(recipe), ["grpo.loss_type=cispo"]))
    assert "weighs" not in str(
        explain_recipe(str(recipe), ["grpo.loss_type=cispo", "grpo.epsilon_high=5"])
    )


def test_two_runs_are_not_a_run_and_an_override() -> None:
    with pytest.raises(
        RecipeError, match="one model or run at a time, found 'runs/one' and 'runs/two'"
    ):
        evaluate_model("runs/one", None, ["runs/two"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "lr_scheduler_type=cosine_with_min_lr",
            "lr_scheduler_type 'cosine_with_min_lr' with lr_scheduler_kwargs None: One of",
        ),
        (
            "lr_scheduler_type=warmup_stable_decay",
            "missing 1 required positional argument: 'num_decay_steps'",
        ),
        (
            "lr_scheduler_kwargs={a: 1}",
            "'linear' with lr_scheduler_kwargs {'a': 1}: .* unexpected keyword argument 'a'",
        ),
        ("optim_args=abc", "optim_args is 'abc' .*; expected KEY=VALUE"),
        ("fsdp=full_shard", "grpo.fsdp shares weights out among processes, and there is one"),
    ],
)
def test_a_schedule_and_an_optimiser_are_tried_out_before_a_model_loads(
    recipe: Path, override: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said) as refusal:
        train_recipe(str(recipe), [f"grpo.{override}", "model=no/model"], dry_run=True)
    assert "\n" not in str(refusal.value)
