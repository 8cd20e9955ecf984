"""A step's size by arithmetic, against what torch counts and holds here, and what others published
of runs on GPUs.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from typer.testing import CliRunner

from llmpolicy.board.matrix_work import MatrixWork
from llmpolicy.cli import app
from llmpolicy.scale import DEVICES, SHAPES, Load, Shape, estimate, memory, shape_of, work
from llmpolicy.scale.devices import CALL, READING
from llmpolicy.scale.estimate import products

SMOLLM2 = Shape(3, 576, 1536, 9, 3, 64, 512, tied=True)
"""Three of SmolLM2-135M's layers, with a small vocabulary."""
MODELS = {
    "llama": SMOLLM2,
    "qwen2": Shape(2, 896, 4864, 14, 2, 64, 512, tied=True, biased=True),
    "untied": Shape(4, 256, 688, 4, 4, 64, 300, tied=False),
}
ROWS, LENGTH = 2, 128


def built(shape: Shape, dtype: torch.dtype = torch.float32) -> Any:
    how: dict[str, Any] = {
        "hidden_size": shape.hidden, "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.size,
        "vocab_size": shape.vocabulary, "tie_word_embeddings": shape.tied,
    }  # fmt: skip
    model: Any = LlamaForCausalLM(LlamaConfig(**how))
    if shape.biased:
        model = Qwen2ForCausalLM(Qwen2Config(**how))
    return model.to(dtype).train()


def ids() -> Tensor:
    return torch.randint(0, 300, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))


def computed_again(model: Any) -> None:
    """Layers are computed again for the backward."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})


# against what torch counts and holds


@pytest.mark.parametrize("name", MODELS)
def test_weights_gradients_and_moments_are_those_that_torch_holds(name: str) -> None:
    shape, model = MODELS[name], built(MODELS[name])
    assert sum(weight.numel() for weight in model.parameters()) == shape.parameters
    optimiser = torch.optim.AdamW(model.parameters())
    model(input_ids=ids(), labels=ids()).loss.backward()
    optimiser.step()
    held = sum(weight.nbytes for weight in model.parameters())
    graded = sum(weight.grad.nbytes for weight in model.parameters())
    moments = 0
    for state in optimiser.state.values():
        moments += state["exp_avg"].nbytes + state["exp_avg_sq"].nbytes
    assert held == memory.weights(shape, width=4)
    assert graded == memory.gradients(shape, width=4)
    assert moments == memory.optimiser(shape, width=4)
    adapter = get_peft_model(built(shape), LoraConfig(r=4, target_modules="all-linear"))
    trained = sum(weight.numel() for weight in adapter.parameters() if weight.requires_grad)
    assert trained == shape.lora(4)


@pytest.mark.parametrize("name", MODELS)
def test_products_are_those_that_torch_counts(name: str) -> None:
    shape, tokens = MODELS[name], ROWS * LENGTH
    model = built(shape)
    with MatrixWork() as counted, torch.no_grad():
        model(input_ids=ids())
    assert counted.flops == work.forward(shape, tokens, LENGTH, tokens)
    with MatrixWork() as counted:
        model(input_ids=ids(), labels=ids()).loss.backward()
    assert counted.flops == work.update(shape, tokens, LENGTH, tokens, again=False)
    computed_again(model)
    with MatrixWork() as counted:
        model(input_ids=ids(), labels=ids()).loss.backward()
    assert counted.flops == work.update(shape, tokens, LENGTH, tokens, again=True)


def test_products_of_an_adapters_step_are_those_that_torch_counts() -> None:
    shape, tokens = MODELS["llama"], ROWS * LENGTH
    adapter = get_peft_model(built(shape), LoraConfig(r=8, target_modules="all-linear"))
    with MatrixWork() as counted:
        adapter(input_ids=ids(), labels=ids()).loss.backward()
    expected = work.update(shape, tokens, LENGTH, tokens, again=False, rank=8)
    assert counted.flops == pytest.approx(expected, rel=0.03)  # the first layer's input has none


def test_products_of_a_generation_are_those_that_torch_counts() -> None:
    shape, new = MODELS["llama"], 20
    model = built(shape).eval()
    how: dict[str, Any] = {"do_sample": False, "min_new_tokens": new, "max_new_tokens": new}
    with MatrixWork() as counted:
        model.generate(ids(), pad_token_id=0, eos_token_id=1, **how)
    expected = work.generation(shape, 1, ROWS, LENGTH, new, shared=False)
    assert counted.flops == pytest.approx(expected, rel=0.01)
    once = work.generation(shape, 1, ROWS, LENGTH, new, shared=True)
    assert expected - once == work.forward(shape, LENGTH, LENGTH, 1)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_activations_are_those_that_are_kept_for_the_backward(name: str, again: bool) -> None:
    """In bfloat16, within 10 %; of layers that are computed again what is kept until then."""
    shape, model = MODELS[name], built(MODELS[name], torch.bfloat16)
    if again:
        computed_again(model)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(input_ids=ids(), use_cache=False, logits_to_keep=1)
    assert out.logits is not None
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    tokens = ROWS * LENGTH
    expected = memory.activations(shape, tokens, again=again)
    if again:
        expected -= memory.layer(shape, tokens)
    assert size == pytest.approx(expected, rel=0.10)


def test_keys_and_values_are_those_of_a_cache() -> None:
    shape, model = MODELS["qwen2"], built(MODELS["qwen2"], torch.bfloat16).eval()
    with torch.no_grad():
        cache = model(input_ids=ids(), use_cache=True).past_key_values
    size = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert size == memory.keys_and_values(shape, ROWS * LENGTH)


# against what others published of GPUs


@pytest.mark.parametrize(
    ("size", "billions"),
    [("0.5B", 0.494032768), ("1.5B", 1.543714304), ("7B", 7.615616512), ("32B", 32.763876352)],
)
def test_shapes_have_as_many_weights_as_their_files(size: str, billions: float) -> None:
    assert SHAPES[size].parameters == round(billions * 1e9)


QWEN = {"0.5B": (0.97, 311.55), "1.5B": (2.95, 183.33), "7B": (14.38, 84.28)}
QWEN |= {"14B": (28.08, 46.30), "32B": (61.58, 22.13)}
"""GiB and tokens a second of one row in bfloat16 on an A100, with transformers and with vLLM 0.6.3:
QwenLM/Qwen2.5, docs/source/benchmark/speed_benchmark.rst, input length 1, 2,048 tokens written.
"""


@pytest.mark.parametrize("size", QWEN)
def test_weights_and_decoding_of_qwen_on_an_a100(size: str) -> None:
    shape, device = SHAPES[size], DEVICES["a100"]
    gibibytes, tokens_a_second = QWEN[size]
    held = memory.weights(shape, width=2) + memory.keys_and_values(shape, 2048)
    assert held / 2**30 == pytest.approx(gibibytes, rel=0.25)
    read = memory.weights(shape, width=2) + memory.keys_and_values(shape, 1024)
    seconds = CALL * shape.layers + read / (device.bandwidth * READING)
    assert 1 / seconds == pytest.approx(tokens_a_second, rel=0.25)


def test_parts_of_a_long_grpo_step_of_llama_8b() -> None:
    """unsloth.ai/blog/grpo, February 2025: 8 completions at 20K (20,480) tokens with TRL."""
    llama = Shape(32, 4096, 14_336, 32, 8, 128, 128_256, tied=False)
    assert memory.keys_and_values(llama, 20_480) / 2**30 == pytest.approx(2.5, rel=0.01)
    assert memory.logits(llama, 8 * 20_480) / 2**30 == pytest.approx(78.3, rel=0.01)
    assert memory.weights(llama, width=2) / 1e9 == pytest.approx(16, rel=0.01)


MPT = {
    # of llm-foundry's table: layers, hidden, tokens a row, computed again, tokens a second a GPU
    "h100": [
        (24, 2048, 2048, False, 45_455), (24, 2048, 8192, False, 29_157),
        (32, 2560, 4096, False, 20_964), (32, 4096, 2048, False, 10_643),
        (32, 4096, 8192, True, 6_935), (32, 4096, 32_768, True, 3_318),
        (40, 5120, 2048, False, 4_792), (40, 5120, 4096, True, 4_717),
        (48, 7168, 2048, True, 2_002), (80, 8192, 2048, True, 1_039),
    ],
    "a100": [
        (24, 2048, 2048, False, 20_513), (32, 2560, 4096, False, 9_457),
        (32, 4096, 2048, False, 4_641), (32, 4096, 8192, True, 3_206),
        (32, 4096, 65_536, True, 1_013), (40, 5120, 2048, False, 2_262),
        (48, 7168, 2048, True, 916), (80, 8192, 2048, True, 410),
    ],
}  # fmt: skip
"""mosaicml/llm-foundry, scripts/train/benchmarking/README.md, 8 GPUs, the largest 64."""


@pytest.mark.parametrize("device", MPT)
def test_training_of_dense_models_is_as_fast_as_published(device: str) -> None:
    for layers, hidden, length, again, tokens_a_second in MPT[device]:
        # an MLP of two matrices of 4 h is as large as a gated one of 8/3 h
        heads, inner = hidden // 128, round(8 / 3 * hidden)
        shape = Shape(layers, hidden, inner, heads, heads, 128, 50_432, tied=True)
        flops = work.update(shape, 1, length, 1, again=again)
        expected = DEVICES[device].rate / flops
        assert expected == pytest.approx(tokens_a_second, rel=0.25), (layers, hidden, length)


def test_zero_shares_out_what_its_paper_says() -> None:
    """7.5 billion weights on 64 devices, all shared out: 1.9 GB (arXiv 1910.02054, figure 1)."""
    shape = replace(SHAPES["7B"], vocabulary=136_000)
    whole = memory.gradients(shape, width=4) + memory.optimiser(shape, width=4) + 4 * 7.5e9
    shared = memory.gradients(shape, width=4, world=64) + memory.optimiser(shape, width=4, world=64)
    assert shape.parameters == pytest.approx(7.5e9, rel=0.01)
    assert whole / 1e9 == pytest.approx(120, rel=0.01)
    assert (shared + 4 * 7.5e9 / 64) / 1e9 == pytest.approx(1.9, rel=0.02)


# laws, and what is said


def test_a_step_on_more_devices_takes_less_of_each() -> None:
    shape, device = SHAPES["7B"], DEVICES["h100"]
    rows = [estimate(shape, Load(), device, world) for world in (1, 8, 64, 512)]
    for fewer, more in zip(rows, rows[1:], strict=False):
        assert sum(more.memory.values()) < sum(fewer.memory.values())
        assert more.fits >= fewer.fits and more.update_seconds < fewer.update_seconds
    assert rows[0].fits == 0 and rows[0].to_dict()["generation_seconds"] is None


def test_sharing_a_prompt_saves_reading_it() -> None:
    shape, load = SHAPES["1.5B"], Load(prompts=3, group=4, prompt=100, completion=50)
    shared, apart = (products(shape, load, shared=is_shared) for is_shared in (True, False))
    read = work.forward(shape, 100, 100, 1)
    assert apart["generation"] - shared["generation"] == pytest.approx(3 * 3 * read)
    single = replace(load, group=1)
    assert products(shape, single, shared=True) == products(shape, single, shared=False)


def test_the_command_says_it_in_eighty_columns(tmp_path: Path) -> None:
    file = tmp_path / "scale.json"
    asked = ["explain", "--for", "gpu", "--model", "32B", "--json", str(file)]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0
    assert max(map(len, told.output.splitlines())) <= 80
    assert "not yet run on a GPU" in " ".join(told.output.split())
    assert "too large by 515 GB" in told.output
    sized = json.loads(file.read_text())
    assert sized["schema"] == 1 and sized["parameters"] == 32_763_876_352
    assert [row["world"] for row in sized["estimates"]["all weights"]] == [1, 8, 64, 512]


def test_a_recipe_is_sized_with_its_own_batch_and_model(tmp_path: Path) -> None:
    file = tmp_path / "scale.json"
    asked = ["explain", "quickstart", "--for", "gpu", "--world", "2", "--json", str(file)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    sized = json.loads(file.read_text())["scale"]
    expected = {"prompts": 32, "group": 8, "completion": 5, "rank": 0, "again": False}
    assert expected.items() <= sized["load"].items()
    assert sized["parameters"] == shape_of(sized["model"]).parameters
    assert list(sized["estimates"]) == ["all weights"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--for", "gpu", "--model", "8B"], "no such size; expected one of: 0.5B"),
        (["--for", "gpu", "--model", "7B", "--world", "0"], "--world is 0; expected at least 1"),
        (["--for", "gpu", "--model", "7B", "--device", "h10"], "did you mean 'h100'?"),
        (["--for", "gpu"], "name a recipe, or a model and a device"),
        (["cartpole", "--for", "gpu", "--world", "2"], "has no grpo block"),
    ],
)
def test_what_cannot_be_sized_is_said(asked: list[str], said: str) -> None:
    told = CliRunner().invoke(app, ["explain", *asked])
    assert told.exit_code != 0 and said in str(told.exception)


def test_a_mixture_of_experts_is_refused(tmp_path: Path) -> None:
    data = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 8}
    data |= {"num_attention_heads": 2, "vocab_size": 10, "num_experts": 4}
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(Exception, match="mixture of experts"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Exception, match="lacks 'num_attention_heads'; expected a decoder"):
        shape_of(str(tmp_path))


def test_the_page_shows_what_the_command_says() -> None:
    page = (Path(__file__).parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    shown = page.split("```text\n")[1].split("```")[0].splitlines()
    told = CliRunner().invoke(app, ["explain", "--for", "gpu", "--model", "7B"]).output.splitlines()
    assert len(shown) == 12 and shown == told[:12]
