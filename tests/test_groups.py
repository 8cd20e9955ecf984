"""Attention by groups: the packed pass gives the numbers of plain forwards, one row at a time, and
their gradients.
"""

import copy
import functools
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.nn.functional import scaled_dot_product_attention as sdpa

from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import choose, generate, score
from llmpolicy.policies.causal_lm.fast import group_attention, head, products, quick_step
from llmpolicy.policies.causal_lm.fast import pack as packing
from llmpolicy.policies.causal_lm.fast import prompt_queries as buffers
from llmpolicy.policies.causal_lm.fast.door import group_path
from llmpolicy.policies.causal_lm.fast.pack import pack
from llmpolicy.policies.causal_lm.fast.packed_prompts import common_start
from llmpolicy.policies.causal_lm.fast.patched import Forward, patched
from llmpolicy.policies.causal_lm.fast.quick_lora import lora_forwards
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import left_pad, right_pad
from tests import models

SMALL = group_attention._SMALL
generating = import_module("llmpolicy.policies.causal_lm.generate")
SERVED = ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt2", "qwen3_moe", "mixtral"]
every_architecture = pytest.mark.parametrize("architecture", SERVED)


@functools.cache
def model(architecture: str) -> torch.nn.Module:
    return CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model


def rows_of(lengths: list[int], seed: int = 0, vocabulary: int = 50) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(5, vocabulary, (n,), generator=draw).tolist() for n in lengths]


@every_architecture
def test_the_architectures_need_no_other_path(architecture: str) -> None:
    assert group_path(model(architecture)) is None


def test_what_groups_cannot_serve_has_its_reason_in_words() -> None:
    refused = {
        "soft-capping": (
            models.model("gemma3", attn_logit_softcapping=30.0),
            "gemma3_text has attn_logit_softcapping",
        ),
        "order": (
            models.model("gpt2", reorder_and_upcast_attn=True),
            "gpt2 has reorder_and_upcast_attn",
        ),
    }
    for made, reason in refused.values():
        assert group_path(made) == reason
        CausalLMPolicy(made, models.tokenizer()).act(
            [[5, 6]], max_new_tokens=3
        )  # and the other path serves it


# generation


def written(of: str | torch.nn.Module, prompts: list[list[int]], steps: int, seed: int = 0) -> None:
    """Generate; every log-probability is that of a plain forward of its row."""
    network = model(of) if isinstance(of, str) else of
    turns = generate(
        network, prompts, max_new_tokens=steps, temperature=0.8, stop_ids=[4, 9, 17], pad_id=0,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    for prompt, turn in zip(prompts, turns, strict=True):
        ids = turn.action
        with torch.no_grad():
            logits = network(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / 0.8
        truth = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(turn.log_probs), truth, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("start", "small"), [(0, SMALL), (0, 0), (2, SMALL), (14, SMALL), (14, 0)])
@every_architecture
def test_rows_that_share_prompts_and_leave_keep_their_numbers(
    monkeypatch: pytest.MonkeyPatch, architecture: str, start: int, small: int
) -> None:
    monkeypatch.setattr(
        group_attention, "_SMALL", small
    )  # 0: torch's attention, as for many scores and on a GPU
    prompts = [rows_of([start], seed=9)[0] + prompt for prompt in rows_of([12, 3, 7, 1])]
    mixed = [prompts[place] for place in (0, 1, 1, 2, 0, 3, 2, 2, 2, 0, 1, 1, 3, 2, 0, 0)]
    written(
        architecture, mixed, 40
    )  # beyond the first room of the buffers, and the window of 4 leaves the prompt


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=5),
    st.integers(0, 12),
    st.integers(0, 99),
)
def test_any_groups_keep_their_numbers(shape: list[tuple[int, int]], start: int, seed: int) -> None:
    prompts = [[8] * start + prompt for prompt in rows_of([length for length, _ in shape], seed)]
    rows = list(
        itertools.chain.from_iterable(
            [prompt] * many for prompt, (_, many) in zip(prompts, shape, strict=True)
        )
    )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    written("mistral" if seed % 2 else "gemma3", [rows[place] for place in order], 6, seed)


KINDS = [
    *itertools.product(
        ["llama", "qwen2", "gpt2", "mixtral"], [{}, {"use_dora": True}, {"use_rslora": True}]
    ),
    ("gpt2", {"lora_bias": True}),  # refused where the base has no bias
]


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_an_adapter_is_sampled_as_it_is_computed(architecture: str, kind: dict[str, bool]) -> None:
    lora = {"r": 4, "lora_alpha": 9, "init_lora_weights": False, **kind}
    if architecture == "mixtral":
        lora["target_modules"] = ["q_proj", "v_proj"]
    pi = CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer(), lora=lora)
    prompts = rows_of([5, 5, 3])
    before = {name: value.clone() for name, value in pi.model.state_dict().items()}
    for mode in (True, False):
        written(pi.model.train(mode), prompts * 3, 5)
        with pi.model.disable_adapter():
            written(pi.model, prompts, 5)
    assert not any(
        "forward" in vars(layer) for layer in pi.model.modules()
    )  # and all is PEFT's again
    assert all(torch.equal(value, before[name]) for name, value in pi.model.state_dict().items())


def test_dropout_of_an_adapter_keeps_its_layers_with_peft() -> None:
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj"], init_lora_weights=False)
    network = get_peft_model(models.model("llama", vocab_size=50), config)
    quick = {}
    for mode in (True, False):
        quick[mode] = bool([*lora_forwards(network.train(mode), products.Products())])
    assert quick == {True: False, False: True}


FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma3")


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("lora", [None, {"r": 4, "init_lora_weights": False}])
@pytest.mark.parametrize("room", [0, 2**31])
def test_quick_layers_in_bfloat16_are_as_near_to_float32_as_the_layers(
    monkeypatch: pytest.MonkeyPatch, architecture: str, lora: dict[str, object] | None, room: int
) -> None:
    torch.manual_seed(0)
    made = models.model(architecture, vocab_size=50).bfloat16()
    pi = CausalLMPolicy(made, models.tokenizer(), lora=lora, max_new_tokens=12)
    prompts = rows_of([3, 9, 5, 5], seed=2) * 8
    monkeypatch.setattr(products, "COPY", room)  # 0: weights are read where they lie
    action = pi.act(prompts, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(quick_step, "LAYERS", ())
    plain = replay(pi, prompts, action.value)
    pi.model.float()
    exact = replay(pi, prompts, action.value)
    quick_error, plain_error = (
        float((side - exact).abs().mean()) for side in (action.log_prob, plain)
    )
    assert 0 < quick_error < 1.25 * plain_error


def replay(pi: CausalLMPolicy, prompts: list[list[int]], actions: list[list[int]]) -> torch.Tensor:
    """Log-probabilities of these actions by the generator itself, which is made to choose them."""
    true, step = generating.choose, iter(range(1000))

    def forced(logits: torch.Tensor, temperature: float, *_: object) -> choose.Chosen:
        place = next(step)
        token = torch.tensor([ids[place] for ids in actions if len(ids) > place])
        log_prob = torch.log_softmax(logits.float() / temperature, -1).gather(1, token[:, None])[
            :, 0
        ]
        return choose.Chosen(token, log_prob, torch.tensor(True))

    generating.choose = forced
    try:
        return pi.act(prompts).log_prob
    finally:
        generating.choose = true


def quick_layers(made: torch.nn.Module) -> list[Forward]:
    return [*quick_step.layer_forwards(made, lambda *_: torch.empty(0), products.Products())]


@pytest.mark.parametrize("architecture", [*FAMILIES, "gpt2", "qwen3_moe", "mixtral"])
def test_quick_layers_stand_in_only_while_it_lasts_and_for_what_they_know(
    architecture: str,
) -> None:
    made = models.model(architecture, vocab_size=50)
    layers = made.transformer.h if architecture == "gpt2" else made.model.layers
    with patched(made, None, quick_layers(made)):
        assert ["forward" in vars(layer) for layer in layers] == [architecture in FAMILIES] * 2
    assert not any("forward" in vars(module) for module in made.modules())


def test_a_layer_into_which_something_was_put_is_left_as_it_is() -> None:
    made = models.model("llama", vocab_size=50)
    pi = CausalLMPolicy(made, models.tokenizer(), max_new_tokens=4)
    calls: list[str] = []
    handle = made.model.layers[0].mlp.down_proj.register_forward_hook(
        lambda *_: calls.append("hook")
    )
    inner = made.model.layers[1].self_attn
    true = inner.forward

    def forward(*arguments: object, **named: object) -> object:
        calls.append("forward")
        return true(*arguments, **named)

    inner.forward = forward
    assert not {layer for layer, _ in quick_layers(made)} & {*made.model.layers}
    pi.act([[7, 8]], greedy=True)
    assert {"hook", "forward"} == set(calls)
    handle.remove()
    made.model.layers[1].self_attn = torch.nn.Identity()
    assert [layer for layer, _ in quick_layers(made)][:1] == [made.model.layers[0]]
    assert made.model.layers[1] not in [layer for layer, _ in quick_layers(made)]


packs = pytest.mark.skipif(
    not products.serves(torch.bfloat16), reason="oneDNN has no products in bfloat16 here"
)


@packs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
def test_packed_products_are_those_of_the_layers(
    dtype: torch.dtype, autocast: torch.dtype | None, bias: bool
) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(24, out, bias=bias, dtype=dtype) for out in (40, 8)]
    x, within = torch.randn(24, 5, dtype=dtype).T, dtype if autocast is None else autocast
    other = torch.randn(5, 48, dtype=within)
    made = products.Products()(*layers)
    assert isinstance(made, products.Packed)
    weight, exact = torch.cat([layer.weight for layer in layers]).double(), x.double()
    truth = exact @ weight.T + (torch.cat([layer.bias for layer in layers]).double() if bias else 0)
    with torch.no_grad(), torch.autocast("cpu", autocast, enabled=autocast is not None):
        found = {
            "made": made(x),
            "silu": made.silu(x),
            "times": made.times(x, other),
            "plus": made.plus(x, other),
        }
        wide = made.plus(x, other.double())
    expected = {
        "made": truth,
        "silu": torch.nn.functional.silu(truth),
        "times": truth * other,
        "plus": truth + other,
    }
    bound = 1e-5 if within == torch.float32 else 0.02
    for name, value in found.items():
        assert value.dtype == within and torch.allclose(
            value.double(), expected[name].double(), atol=bound, rtol=bound
        )
    assert wide.dtype == torch.float64 and torch.allclose(
        wide, expected["plus"], atol=bound, rtol=bound
    )


@packs
def test_a_layer_is_asked_where_it_cannot_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, hooked, exact = (
        torch.nn.Linear(4, 4),
        torch.nn.Linear(4, 4),
        torch.nn.Linear(4, 4, dtype=torch.float64),
    )
    hooked.register_forward_hook(lambda *_: None)
    unlike, odd = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4)
    odd.weight = type("Odd", (torch.nn.Parameter,), {})(torch.ones(4, 4))
    made = products.Products()
    assert type(made(plain)) is products.Packed
    for layers in ([hooked], [exact], [plain, unlike], [odd], [torch.nn.Identity()]):
        assert type(made(*layers)) is products.Asked
    monkeypatch.setattr(products, "COPY", 127)  # there is room for one of 64 bytes
    made = products.Products()
    assert [type(made(plain)) for _ in range(2)] == [products.Packed, products.Asked]


@pytest.mark.parametrize(
    ("architecture", "config"), [("qwen2", {}), ("llama", {"hidden_act": "gelu"}), ("gpt2", {})]
)
def test_weights_that_changed_are_read_anew(architecture: str, config: dict[str, str]) -> None:
    made = models.model(architecture, vocab_size=50, **config).eval()
    for _ in range(2):
        written(made, rows_of([5, 5, 3]) * 2, 6)
        with torch.no_grad():
            for weight in made.parameters():
                weight.mul_(1.2)


@pytest.mark.parametrize(
    ("long", "short", "size"), [(12, 9, 8), (240, 180, 64)]
)  # the second: oneDNN's products
def test_attention_of_16_bits_is_as_exact_as_that_of_torch(
    long: int, short: int, size: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    lengths = (long, short, short, long)
    q, k, v, gradient = (
        torch.randn(3, 2, length, size, generator=draw).bfloat16() for length in lengths
    )
    q, k = q * 8, k + 4  # scores of up to a hundred, which 16 bits would round by tenths
    mask = torch.zeros(long, short).masked_fill_(
        torch.arange(short) > torch.arange(long)[:, None], float("-inf")
    )

    def results(dtype: torch.dtype, attend: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        sides = [side.to(dtype, copy=True).requires_grad_() for side in (q, k, v)]
        with torch.autocast(
            "cpu", torch.bfloat16, enabled=dtype == torch.bfloat16
        ):  # as a trainer runs it
            out = attend(*sides)
        return [
            one.detach().double()
            for one in (out, *torch.autograd.grad(out, sides, gradient.to(dtype)))
        ]

    def plain(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return ((a @ b.transpose(-1, -2) * 0.3) + mask).softmax(-1) @ c

    truth = results(torch.float64, plain)
    found = results(torch.bfloat16, lambda a, b, c: group_attention.attention(a, b, c, mask, 0.3))
    torchs = results(
        torch.bfloat16, lambda a, b, c: sdpa(a, b, c, attn_mask=mask.to(a.dtype), scale=0.3)
    )
    for one, true, other in zip(found, truth, torchs, strict=True):
        assert 0 < (one - true).norm() < 2 * (other - true).norm()
    assert (
        found[1][:, :, 0].eq(0).all()
    )  # the first token sees one key: no score of its changes anything


def test_attention_of_32_bits_does_not_round_and_no_setting_of_torch_is_changed() -> None:
    draw, products_of = torch.Generator().manual_seed(0), torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    assert products_of.fp32_precision == "none"
    q, k, v = (torch.randn(3, 2, length, 64, generator=draw) for length in (240, 180, 180))
    mask = torch.zeros(240, 180)
    truth = (q.double() @ k.double().transpose(-1, -2) * 0.3).softmax(-1) @ v.double()
    assert (group_attention.attention(q, k, v, mask, 0.3) - truth).norm() < 1e-6 * truth.norm()
    group_attention.attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, 0.3)
    with pytest.raises(RuntimeError):
        group_attention.attention(q.bfloat16(), k[..., :3].bfloat16(), v.bfloat16(), mask, 0.3)
    assert products_of.fp32_precision == "none"


def test_attention_with_its_mass_is_softmax() -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8, generator=draw) for length in (5, 7, 7))
    mask = torch.zeros(2, 1, 1, 7)
    mask[0, ..., 4:] = float("-inf")
    scores = q @ k.transpose(-1, -2) * 0.3 + mask
    out, mass = buffers.attend_with_mass(q, k, v, mask.expand(-1, 1, 5, -1), 0.3)
    torch.testing.assert_close(out, scores.softmax(-1) @ v)
    torch.testing.assert_close(mass, scores.logsumexp(-1))


# scoring


def padded(
    prompts: list[list[int]], completions: list[list[int]], pad: int = 0
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows as a trainer holds them, padded on the left and on the right."""
    before, before_mask = left_pad(prompts, pad, torch.device("cpu"))
    after, after_mask = right_pad(completions, pad, torch.device("cpu"))
    return torch.cat([before, after], 1), torch.cat([before_mask, after_mask], 1), after.shape[1]


def ragged(
    groups: int, each: int, seed: int = 0, start: int = 0
) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of prompts and completions of 1 to 9 tokens, in no order; the pad token, 0, may be
    anywhere.

    All prompts begin with the same ``start`` further tokens.
    """
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 10, (groups * (each + 1),), generator=draw).tolist()
    rows = [[token if token > 6 else 0 for token in row] for row in rows_of(lengths, seed)]
    shared = rows_of([start], seed=9)[0]
    pairs = [
        (shared + rows[place % groups], rows[groups + place]) for place in range(groups * each)
    ]
    order = torch.randperm(len(pairs), generator=draw).tolist()
    return [pairs[place][0] for place in order], [pairs[place][1] for place in order]


@pytest.mark.parametrize(
    ("start", "small", "block"),
    [(0, SMALL, 0.0), (0, 0, 99.0), (10, SMALL, 99.0), (10, 0, 0.0), (0, SMALL, 1.0)],
)
@pytest.mark.parametrize(
    ("groups", "each", "budget"), [(1, 2, None), (3, 4, None), (2, 16, 40), (4, 3, 12), (5, 1, 9)]
)
@every_architecture
def test_scores_and_gradients_are_those_of_the_padded_forward(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    groups: int,
    each: int,
    budget: int | None,
    start: int,
    small: int,
    block: float,
) -> None:
    monkeypatch.setattr(group_attention, "_SMALL", small)
    monkeypatch.setattr(
        packing, "_BLOCK", block
    )  # 0: each completion alone; 99: those of a group together
    made = CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model
    ids, mask, keep = padded(*ragged(groups, each, seed=groups, start=start))
    expected = score(made, ids, mask, keep, 0.7, entropy=True)
    found = score_groups(made, Rows(ids, mask, keep), 0.7, entropy=True, budget=budget)
    there = mask[:, -keep:].bool()
    torch.testing.assert_close(found.log_prob, expected.log_prob * there, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.entropy, expected.entropy * there, atol=1e-4, rtol=0)
    weight = torch.randn(there.shape, generator=torch.Generator().manual_seed(1)) * there
    same_gradients(made, (found.log_prob * weight).sum(), (expected.log_prob * weight).sum())


def same_gradients(made: torch.nn.Module, found: torch.Tensor, expected: torch.Tensor) -> None:
    named = {
        name: parameter for name, parameter in made.named_parameters() if parameter.requires_grad
    }
    sides = [
        torch.autograd.grad(side, list(named.values()), allow_unused=True)
        for side in (found, expected)
    ]
    largest = max(float(side.norm()) for side in sides[1] if side is not None)
    for name, left, right in zip(named, *sides, strict=True):
        if right is None:
            assert left is None, name
        else:
            assert float((left - right).norm()) <= 1e-3 * max(
                float(right.norm()), 1e-3 * largest
            ), name


@pytest.mark.parametrize(("tile", "part"), [(1, 1), (7, 1), (7, 3), (100, 7)])
def test_tiles_of_the_head_and_their_parts_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tile: int, part: int
) -> None:
    monkeypatch.setattr(head, "TILE", 50 * tile * 4)
    monkeypatch.setattr(head, "PART", 50 * part)
    test_scores_and_gradients_are_those_of_the_padded_forward(
        monkeypatch, "gpt2", 3, 4, None, 0, 0, 0.0
    )


def test_many_tiles_in_bfloat16_round_the_head_s_gradient_hardly_more_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    hidden, weight, labels = torch.randn(400, 16), torch.randn(50, 16), torch.randint(50, (400,))
    hidden = (hidden + 1.0).bfloat16()  # sums that grow, where small numbers get lost

    def gradient(dtype: torch.dtype, tile: int, kept: int) -> torch.Tensor:
        monkeypatch.setattr(head, "TILE", 50 * tile * dtype.itemsize)
        monkeypatch.setattr(head, "KEPT", 50 * kept * dtype.itemsize)
        leaf, seen = weight.bfloat16().to(dtype).requires_grad_(), hidden.to(dtype).requires_grad_()
        found, _ = head.log_prob_of(seen, leaf, None, labels, 1.0, False)
        return torch.autograd.grad(found.sum(), leaf)[0].double()

    truth = gradient(torch.float64, 400, 0)
    ways = [(400, 0), (1, 0), (1, 200)]  # in the last the first half is kept
    once, *often = (
        float((gradient(torch.bfloat16, *way) - truth).norm() / truth.norm()) for way in ways
    )
    assert max(often) < 2 * once


@pytest.mark.parametrize("trained", ["weights of 16 bits", "weights of 32 bits", "no weights"])
@pytest.mark.parametrize(("places", "products"), [(40, 2), (19, 11), (0, 18)])
def test_what_waits_for_the_backward_is_what_it_would_compute(
    monkeypatch: pytest.MonkeyPatch, places: int, products: int, trained: str
) -> None:
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 16, generator=draw).bfloat16() for n in (40, 50))
    weight = weight.float() if trained == "weights of 32 bits" else weight
    leaves = (
        [hidden.requires_grad_()]
        if trained == "no weights"
        else [hidden.requires_grad_(), weight.requires_grad_()]
    )
    labels, made = torch.randint(50, (40,), generator=draw), []
    true = head.linear
    monkeypatch.setattr(head, "linear", lambda *sides: made.append(0) or true(*sides))
    monkeypatch.setattr(head, "TILE", 50 * 7 * 2)  # 7 places
    monkeypatch.setattr(head, "KEPT", 50 * places * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, entropy = head.log_prob_of(hidden, weight, None, labels, 0.7, True)
    gradients = [torch.autograd.grad(found.sum(), leaves, retain_graph=True) for _ in range(2)]
    assert (
        len(made) == products
    )  # the second backward of those that were kept has to compute them again
    exact = torch.log_softmax(hidden.double() @ weight.double().T / 0.7, -1)  # (40, 50)
    assert torch.allclose(entropy.double(), -(exact.exp() * exact).sum(-1), atol=0.02)
    taken = exact.gather(1, labels[:, None])[:, 0]
    assert torch.allclose(found.double(), taken, atol=0.05)  # logits are rounded to 16 bits
    for sides in zip(*gradients, torch.autograd.grad(taken.sum(), leaves), strict=True):
        for gradient in sides[:2]:
            assert float((gradient - sides[2]).norm()) < 0.005 * float(sides[2].norm())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_s_gradient_is_that_of_the_padded_forward(checkpointing: bool) -> None:
    pi = CausalLMPolicy(
        models.model("qwen3", vocab_size=50),
        models.tokenizer(),
        lora={"r": 4, "init_lora_weights": False},
    )
    if checkpointing:
        pi.model.gradient_checkpointing_enable()
        pi.model.enable_input_require_grads()
    ids, mask, keep = padded(*ragged(3, 4))
    there = mask[:, -keep:].bool()
    expected = _apart(pi.model, ids, mask, keep, there)
    with ExitStack() as held:
        found = score_groups(pi.model, Rows(ids, mask, keep), 1.0, held=held).log_prob.sum()
        same_gradients(pi.model, found, expected)
    assert pi.model.config._attn_implementation == "sdpa"  # and attention is as it was


def _apart(
    made: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, keep: int, there: torch.Tensor
) -> torch.Tensor:
    """A sum whose gradient is that of a copy which holds its activations: no recomputation while
    attention is ours.
    """
    other = copy.deepcopy(made)
    other.gradient_checkpointing_disable()
    total = (score(other, ids, mask, keep, 1.0).log_prob * there).sum()
    gradients = torch.autograd.grad(total, [p for p in other.parameters() if p.requires_grad])
    leaves = [p for p in made.parameters() if p.requires_grad]
    return sum(
        ((leaf * side.detach()).sum() for leaf, side in zip(leaves, gradients, strict=True)),
        torch.zeros(()),
    )


def test_in_bfloat16_the_two_forwards_differ_no_more_than_bfloat16_does() -> None:
    made = CausalLMPolicy(models.model("llama", vocab_size=50).bfloat16(), models.tokenizer()).model
    exact = copy.deepcopy(made).float()
    ids, mask, keep = padded(*ragged(3, 4))
    there = mask[:, -keep:].bool()
    truth, plain = (score(m, ids, mask, keep, 1.0).log_prob[there].detach() for m in (exact, made))
    found = score_groups(made, Rows(ids, mask, keep), 1.0).log_prob[there].detach()
    assert float((found - truth).abs().mean()) < 2 * float((plain - truth).abs().mean())


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_in_bfloat16_the_gradient_is_as_exact_as_that_of_the_padded_forward(
    architecture: str, checkpointing: bool
) -> None:
    made = CausalLMPolicy(
        models.model(architecture, vocab_size=50).bfloat16(), models.tokenizer()
    ).model
    exact = copy.deepcopy(made).float()
    ids, mask, keep = padded(*ragged(3, 4))
    there = mask[:, -keep:].bool()

    def gradient(pi: torch.nn.Module, found: torch.Tensor) -> torch.Tensor:
        sides = torch.autograd.grad(found[there].sum(), list(pi.parameters()))
        return torch.cat([side.double().flatten() for side in sides])

    truth, plain = (gradient(pi, score(pi, ids, mask, keep, 1.0).log_prob) for pi in (exact, made))
    if checkpointing:
        made.gradient_checkpointing_enable()
    made.train()
    with ExitStack() as held:
        found = gradient(made, score_groups(made, Rows(ids, mask, keep), 1.0, held=held).log_prob)
    assert 0 < (found - truth).norm() < 1.5 * (plain - truth).norm()


def test_what_all_prompts_begin_with_is_read_once() -> None:
    made = CausalLMPolicy(models.model("llama", vocab_size=50), models.tokenizer()).model
    prompts = [[8] * 10 + rest for rest in ([7], [6, 5], [7, 7, 7])]
    ids, mask, keep = padded([prompt for prompt in prompts for _ in range(2)], [[9, 9, 9]] * 6)
    read: list[int] = []
    made.get_input_embeddings().register_forward_hook(
        lambda _, inputs, __: read.append(inputs[0].numel())
    )
    score_groups(made, Rows(ids, mask, keep), 1.0)
    generate(made, prompts, max_new_tokens=1, temperature=1.0, stop_ids=[4], pad_id=0)
    assert read == [10 + (1 + 2 + 3) + 6 * 2, 10 + (1 + 2 + 3)]


def test_a_common_start_leaves_each_prompt_a_token_and_is_not_shared_if_short() -> None:
    assert common_start([[5, 6, 7], [5, 6, 8]]) == 2
    assert (
        common_start([[5, 6, 7], [5, 6, 7, 8]]) == 2
    )  # the last token of a prompt is where its completions begin
    assert common_start([[5, 6, 7]]) == 0
    assert common_start([[5, 6], [7, 6]]) == 0
    assert common_start([[5, 5, 6, 6], [5, 5, 7]]) == 2
    assert common_start([[5, 5, 6, 6, 6], [5, 5, 7]]) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_batches_hold_every_row_once_and_keep_to_the_budget(
    shape: list[tuple[int, int]], budget: int
) -> None:
    prompts = [[7] * (1 + prompt % 3) + [prompt] * prompt for prompt, _ in shape]
    ids, mask, keep = padded(prompts, [[8] * length for _, length in shape])
    rows = Rows(ids, mask, keep)
    batches = rows.batches(range(len(shape)), budget)
    assert sorted(row for batch in batches for row in batch) == [
        row for row, (_, n) in enumerate(shape) if n
    ]
    for batch in batches:
        groups = [
            (prompts[group[0]], [rows.completions[row] for row in group])
            for group in rows.groups(batch)
        ]
        assert pack(groups, torch.device("cpu")).token_ids.numel() <= budget or len(batch) == 1
