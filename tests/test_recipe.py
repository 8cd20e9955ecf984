"""Recipes: strict keys, lines in the errors, overrides, what belongs to llmpolicy, samplers that
differ from π.
"""

import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.errors import RecipeError
from llmpolicy.recipe import (
    OWNED,
    OWNED_PREFIXES,
    check_grpo,
    check_stage,
    find_recipe,
    grpo_choices,
    grpo_fields,
    load_recipe,
    make_recipe,
    recipe_folders,
)
from llmpolicy.recipe.trl import lora_fields

RECIPE = """\
model: bundled
task:
  generator: llmpolicy.bundled.addition:questions
  prompt: "{question}"
rewards:
  - fn: exact:match
evaluate:
  correct: exact:match
grpo:
  max_steps: 2
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as found:
        load_recipe(write(tmp_path, text), overrides)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_a_recipe_is_read_and_named_after_its_file(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, RECIPE))
    assert (recipe.name, recipe.seed, recipe.grpo) == ("mine", 0, {"max_steps": 2})
    assert recipe.model is not None
    assert recipe.model.path == "bundled"
    assert [reward.fn for reward in recipe.rewards] == ["exact:match"]
    assert recipe.base_dir == tmp_path


@pytest.mark.parametrize(
    ("wrong", "line", "expected"),
    [
        ("modle: x\n", 11, "did you mean 'model'?"),
        ("grpo:\n  lerning_rate: 1\n", 12, "did you mean 'learning_rate'?"),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one(
    tmp_path: Path, wrong: str, line: int, expected: str
) -> None:
    text = (
        RECIPE
        if wrong.startswith("modle")
        else RECIPE.replace("grpo:\n  max_steps: 2\n", "seed: 1\n")
    )
    message = refusal(tmp_path, text + wrong)
    assert f"mine.yaml:{line - (0 if wrong.startswith('modle') else 1)}" in message
    assert expected in message


@pytest.mark.parametrize("block", ["task", "rewards", "evaluate", "model"])
def test_an_unknown_key_inside_a_block_is_refused(tmp_path: Path, block: str) -> None:
    data = yaml.safe_load(RECIPE)
    data["model"] = {"path": "bundled"}
    target = data[block][0] if isinstance(data[block], list) else data[block]
    target["colour"] = "red"
    assert "'colour'" in refusal(tmp_path, yaml.safe_dump(data))


@pytest.mark.parametrize("key", [*OWNED, "hub_model_id", "hub_token"])
def test_what_llmpolicy_owns_is_refused_with_the_line_to_use_instead(
    tmp_path: Path, key: str
) -> None:
    message = refusal(tmp_path, RECIPE, f"grpo.{key}=x")
    assert f"grpo.{key} belongs to llmpolicy" in message


@pytest.mark.parametrize(
    "override", ["grpo.top_p=0.9", "grpo.top_k=50", "grpo.min_p=0.1", "grpo.repetition_penalty=1.2"]
)
def test_a_sampler_that_is_not_the_policy_is_refused_unless_allowed(
    tmp_path: Path, override: str
) -> None:
    assert "another distribution" in refusal(tmp_path, RECIPE, override)
    load_recipe(write(tmp_path, RECIPE), [override, "allow_biased_sampler=true"])


def test_a_neutral_sampler_value_is_accepted(tmp_path: Path) -> None:
    load_recipe(
        write(tmp_path, RECIPE), ["grpo.top_p=1.0", "grpo.top_k=0", "grpo.generation_kwargs={}"]
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3E5", 3e5),
        ("-1.5e3", -1500.0),
        (".5e-1", 0.05),
        ("1_0e2", 1000.0),
        ("1.e+2", 100.0),
    ],
)
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str, value: float) -> None:
    recipe = load_recipe(
        write(tmp_path, f"{RECIPE}  lr_scheduler_kwargs: {{power: {text}}}\n"),
        [f"evaluate.args.x={text}"],
    )
    assert recipe.grpo is not None and recipe.evaluate is not None
    assert (recipe.grpo["lr_scheduler_kwargs"]["power"], recipe.evaluate.args["x"]) == (
        value,
        value,
    )


@pytest.mark.parametrize("text", ["1e", "e5", "1e-4x", "'1e-4'", "e", ".e"])
def test_a_text_that_looks_like_a_number_is_a_text(tmp_path: Path, text: str) -> None:
    recipe = load_recipe(write(tmp_path, RECIPE), [f"name={text}"])
    assert recipe.name == text.strip("'")


def test_a_key_that_is_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    again = RECIPE + "grpo:\n  beta: 0.1\n"
    assert (
        refusal(tmp_path, again)
        == "mine.yaml:11: the key 'grpo' is written a second time, first in mine.yaml:9"
    )
    assert "mine.yaml:11: the key 'grpo.max_steps'" in refusal(
        tmp_path, RECIPE + "  max_steps: 3\n"
    )


def test_a_block_within_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "round.yaml").write_text("grpo: &g {max_steps: 4, more: *g}\n")
    with pytest.raises(RecipeError, match="nested without end, in itself by its own alias"):
        load_recipe(tmp_path / "round.yaml")


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".", " "])
def test_a_name_is_that_of_a_folder_in_runs(tmp_path: Path, name: str) -> None:
    assert "cannot be the name of a run's folder" in refusal(tmp_path, RECIPE, f"name='{name}'")


def test_a_recipe_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="not a text in UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


def test_a_key_of_a_few_shot_example_is_compared_with_those_of_an_example(tmp_path: Path) -> None:
    message = refusal(tmp_path, RECIPE, "task.few_shot=[{user: a, asistant: b}]")
    assert "'asistant' in task.0.few_shot.0; did you mean 'assistant'?" in message


def test_overrides_reach_lists_and_new_blocks(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, RECIPE),
        ["rewards.0.weight=2.5", "grpo.beta=0.1", "time_limit=2m", "seed=7"],
    )
    assert (recipe.rewards[0].weight, recipe.grpo["beta"], recipe.time_limit, recipe.seed) == (
        2.5,
        0.1,
        120.0,
        7,
    )
    assert recipe.origin["grpo.beta"] == "override grpo.beta=0.1"


@pytest.mark.parametrize(
    "override",
    [
        "grpo", "=1", "rewards.7.weight=1", "grpo.max_steps.deep=1", "rewards.x.weight=1", "rewards.²=1",
        "task.stop=[", "task.prompt=Solve: this: {question}", "seed=2024-99-99",
    ],
)  # fmt: skip
def test_a_malformed_override_is_one_sentence(tmp_path: Path, override: str) -> None:
    assert refusal(tmp_path, RECIPE, override).startswith(f"override {override!r}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "a recipe is a mapping"),
        ("a: [", "not valid YAML"),
        (
            RECIPE.replace("grpo:\n  max_steps: 2\n", ""),
            "exactly one of the blocks grpo and reinforce",
        ),
        (RECIPE + "environment:\n  id: CartPole-v1\n", "an environment is trained by reinforce"),
        (RECIPE.replace("model: bundled\n", ""), "the block 'model' is missing"),
        (
            RECIPE + "policy:\n  hidden: [8]\n",
            "mine.yaml:11: policy is the small one of an environment",
        ),
        (RECIPE.replace("  correct: exact:match\n", "  n: 5\n"), "evaluate needs `correct"),
        (RECIPE + "time_limit: soon\n", "not a duration"),
        (RECIPE + "schema: 9\n", "another version"),
    ],
)
def test_a_recipe_that_cannot_run_says_why(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_would_not_take_is_refused_before_the_run(
    tmp_path: Path, seed: int
) -> None:
    assert refusal(tmp_path, RECIPE, f"seed={seed}").startswith(
        f"override seed={seed}: seed: input should be "
    )


def test_no_such_recipe_names_the_nearest_bundled_one() -> None:
    with pytest.raises(RecipeError, match="did you mean 'quickstart'"):
        find_recipe("quikstart")


def test_grpo_fields_are_the_fields_of_the_installed_config() -> None:
    from trl import GRPOConfig

    fields = {
        field.name
        for field in dataclasses.fields(GRPOConfig)
        if field.init and not field.name.startswith("_")
    }
    assert grpo_fields().keys() == fields


def test_the_choices_of_a_field_are_those_of_trl() -> None:
    from transformers import SchedulerType

    choices = grpo_choices()
    assert choices["lr_scheduler_type"] == {kind.value for kind in SchedulerType}
    assert choices["loss_type"] == {
        "grpo",
        "dr_grpo",
        "dapo",
        "bnpo",
        "cispo",
        "sapo",
        "luspo",
        "vespo",
    }
    assert choices["scale_rewards"] == {"group", "batch", "none"}
    assert choices["importance_sampling_level"] == {"token", "sequence"}
    assert choices["multi_objective_aggregation"] == {"sum_then_normalize", "normalize_then_sum"}
    assert choices["vllm_mode"] == {"server", "colocate"}
    assert choices["vllm_importance_sampling_mode"] == {
        f"{level}_{way}" for level in ("token", "sequence") for way in ("truncate", "mask")
    }


def test_the_arguments_of_lora_are_those_of_peft() -> None:
    from peft import LoraConfig

    assert set(lora_fields()) == {field.name for field in dataclasses.fields(LoraConfig)}


def test_every_default_of_trl_is_accepted() -> None:
    from trl import GRPOConfig

    defaults = {
        field.name: field.default
        for field in dataclasses.fields(GRPOConfig)
        if field.name in grpo_fields()
    }
    given = {key: value for key, value in defaults.items() if value is not dataclasses.MISSING}
    free = {
        key: value
        for key, value in given.items()
        if key not in OWNED and not key.startswith(tuple(OWNED_PREFIXES))
    }
    check_grpo(free, allow_biased_sampler=False)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss_type=dpao", "grpo.loss_type cannot be 'dpao'; did you mean 'dapo'?"),
        ("scale_rewards=grup", "did you mean 'group'?"),
        ("importance_sampling_level=tokens", "did you mean 'token'?"),
        ("lr_scheduler_type=linaer", "did you mean 'linear'?"),
        ("vllm_mode=servr", "did you mean 'server'?"),
        ("save_strategy=false", "cannot be False; expected save_strategy: no"),
        ("max_steps=010", "cannot be '010'; expected int"),
        ("max_steps=1:30", "cannot be '1:30'; expected int"),
        ("label_smoothing_factor=0.1", "would change nothing: GRPO has no labels; remove it"),
        (
            "data_seed=5",
            "would change nothing: the order of the rows comes from `seed:`; remove it",
        ),
        (
            "save_strategy=best",
            "the best checkpoint by `evaluate:` is always kept beside the last one; expected steps",
        ),
        ("log_level=warnin", "did you mean 'warning'?"),
        (
            "gradient_checkpointing_kwargs={reentrant: true}",
            "takes no 'reentrant'; did you mean 'use_reentrant'?",
        ),
        ("parallelism_config={}", "accelerate launch takes it from a file"),
        ("save_only_model=true", "a checkpoint holds all that --resume needs"),
        ("ignore_data_skip=true", "a run that goes on takes the rows that it would have taken"),
        ("temperature=hot", "grpo.temperature cannot be 'hot'; expected float"),
        ("learning_rate=true", "cannot be True; expected float"),
        ("epsilon_high=x", "cannot be 'x'; expected float | null"),
        ("max_steps=20.5", "cannot be 20.5; expected int"),
        ("beta=", "cannot be None; expected float"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_with_the_nearest_one(
    tmp_path: Path, override: str, said: str
) -> None:
    message = refusal(tmp_path, RECIPE, f"grpo.{override}")
    assert message.startswith(f"override grpo.{override}: ")
    assert said in message


@pytest.mark.parametrize(
    "override", ["scale_rewards=false", "fsdp=true", "temperature=1", "save_steps=0.5", "bf16="]
)
def test_a_value_that_trl_reads_is_accepted(tmp_path: Path, override: str) -> None:
    load_recipe(write(tmp_path, RECIPE), [f"grpo.{override}"])


def test_a_reference_that_follows_must_be_there_and_be_whole_weights(tmp_path: Path) -> None:
    follows, whole = (
        "grpo.sync_ref_model=true",
        RECIPE.replace("model: bundled", "model: {path: bundled}"),
    )
    assert "no reference with beta 0" in refusal(tmp_path, whole, follows)
    for adapter in ("lora={}", "adapter=there"):
        assert "cannot follow" in refusal(
            tmp_path, whole, follows, "grpo.beta=0.1", f"model.{adapter}"
        )
    load_recipe(write(tmp_path, whole), [follows, "grpo.beta=0.1"])


def test_every_bundled_recipe_is_valid() -> None:
    paths = [path for folder in recipe_folders() for path in folder.glob("*.yaml")]
    assert len(paths) >= 7
    for path in paths:
        load_recipe(path)


def test_the_hash_knows_a_changed_value_and_ignores_the_order_of_keys(tmp_path: Path) -> None:
    data = yaml.safe_load(RECIPE)
    one, other = make_recipe(data), make_recipe(dict(reversed(data.items())))
    assert one.hash() == other.hash()
    assert make_recipe({**data, "seed": 1}).hash() != one.hash()


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
nested = st.recursive(
    scalars,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["model", "task", "rewards", "grpo", "seed", "x"]), nested))
def test_whatever_the_data_the_error_is_one_sentence(data: dict[str, object]) -> None:
    with pytest.raises(RecipeError) as found:
        make_recipe({**data, "reinforce": {}, "environment": None})
    assert "\n" not in str(found.value)


def test_reading_a_recipe_loads_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE)
    code = (
        "import sys; from llmpolicy.recipe import load_recipe; "
        f"load_recipe({str(path)!r}, ['grpo.beta=0.1']); "
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules), 'heavy import'"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_an_override_reaches_into_the_short_forms():
    made = load_recipe("quickstart", ["model.dtype=float32", "rewards.0.weight=2"])
    assert (made.model.path, made.model.dtype, made.rewards[0].weight) == ("bundled", "float32", 2)
    assert load_recipe("quickstart", ["task.0.limit=7"]).task[0].limit == 7
    short = load_recipe("quickstart", ["rewards=exact:match", "model=bundled", "model.stop=[a]"])
    assert short.model.stop == ["a"]


def test_bare_words_of_a_recipe_are_what_they_look_like(tmp_path: Path) -> None:
    words = ["yes", "no", "on", "010", "12:30", "1:30.5", "007"]
    rows = "".join(
        f"    - {{question: q, answer: {word}}}\n"
        for word in [*words, "true", "1e-3", "0x10", "-4", "2.50", ".5"]
    )
    [task] = load_recipe(
        write(
            tmp_path, f"model: bundled\ntask:\n  rows:\n{rows}rewards: [exact:match]\ngrpo: {{}}\n"
        )
    ).task
    assert task.rows is not None
    assert [row["answer"] for row in task.rows] == [*words, True, 0.001, 16, -4, 2.5, 0.5]


def test_what_an_override_replaced_is_not_blamed(tmp_path: Path) -> None:
    told = refusal(tmp_path, RECIPE, "rewards=[{fn: exact:match, timeout: 0}]")
    assert told.startswith(
        "override rewards=[{fn: exact:match, timeout: 0}]: rewards.0.timeout: 0 is not a duration"
    )


def test_noise_that_the_sampler_does_not_have_is_for_warm_starts_alone() -> None:
    with pytest.raises(
        RecipeError,
        match=r"grpo\.neftune_noise_alpha belongs to llmpolicy: the sampler has no such noise",
    ):
        check_grpo({"neftune_noise_alpha": 0.2}, allow_biased_sampler=True)
    check_stage("sft", {"neftune_noise_alpha": 0.2})


def test_of_blocks_that_yaml_writes_once_each_is_overridden_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "model: bundled\ndemonstrations: {file: a}\nsft: &once {max_steps: 1}\n"
        "preferences: {file: a}\nreward_model: *once\n"
    )
    loaded = load_recipe(tmp_path / "mine.yaml", ["reward_model.max_steps=2"])
    assert (loaded.sft, loaded.reward_model) == ({"max_steps": 1}, {"max_steps": 2})
