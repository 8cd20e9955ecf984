"""The files that accelerate launches by, as its own launcher reads them, beside the recipe that they
are for.
"""

from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from llmpolicy.errors import RecipeError
from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.peers import SHARES
from llmpolicy.recipe import load_recipe

ROOT = Path(__file__).parent.parent


def launched(name: str) -> tuple[Any, dict[str, str]]:
    """The launcher's arguments by a file, and what it sets for the processes that it starts."""
    file = str(ROOT / f"recipes/accelerate/{name}.yaml")
    words = launch_command_parser().parse_args(["--config_file", file, "train_grpo.py"])
    args = _validate_launch_command(words)[0]
    if not args.use_deepspeed:
        return args, prepare_multi_gpu_env(args)
    fields = load_config_from_file(file).deepspeed_config
    args.deepspeed_fields_from_accelerate_config = ",".join(fields)
    return args, prepare_deepspeed_cmd_env(args)[1]


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_is_what_deepspeeds_plugin_reads(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    args, environment = launched(f"zero{stage}")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    plugin = DeepSpeedPlugin()
    zero = plugin.deepspeed_config["zero_optimization"]
    assert args.use_deepspeed and plugin.zero_stage == zero["stage"] == stage
    assert zero["offload_optimizer"]["device"] == zero["offload_param"]["device"] == "none"
    assert plugin.zero3_save_16bit_model == (stage == 3)
    assert not plugin.zero3_init_flag


def test_fsdp2_shares_out_weights_gradients_and_optimiser() -> None:
    args, environment = launched("fsdp2")
    assert args.use_fsdp and environment["ACCELERATE_USE_FSDP"] == "true"
    assert environment["FSDP_VERSION"] == "2"
    assert environment["FSDP_RESHARD_AFTER_FORWARD"] == "true"
    assert environment["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2", "zero3"])
def test_the_recipe_for_several_gpus_fits_as_many_as_its_files_start(name: str) -> None:
    """Its head says four; the completions of a step are whole groups, as TRL asks."""
    file = ROOT / "recipes/gsm8k_qwen_multi_gpu.yaml"
    args, environment = launched(name)
    grpo = load_recipe(str(file)).grpo or {}
    assert args.num_processes == 4 and "on four GPUs" in file.read_text()
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    rows = args.num_processes * grpo["per_device_train_batch_size"]
    assert rows * grpo["gradient_accumulation_steps"] % grpo["num_generations"] == 0


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_weights_are_not_said_to_be_shared_out_on_a_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, "true")
    from llmpolicy.grpo import config

    args = grpo_config_without(config, monkeypatch, tmp_path)
    with pytest.raises(RecipeError, match="the launcher's file shares weights out .* on a CPU"):
        config.refuse_shares_on_cpus(args)


def grpo_config_without(config: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """A configuration for a CPU, made before anybody asked for shared weights."""
    with monkeypatch.context() as before:
        for name in SHARES:
            before.delenv(name, raising=False)
        return grpo_config({"use_cpu": True}, output_dir=folder, seed=0, reward_weights=[1.0])
