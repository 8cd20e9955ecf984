"""Generation of dialogues: a limit for each row, and rows that go on behind what was read of them.

The reference is stock transformers' forward of each whole row, by itself.
"""

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import pytest
import torch

from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.evaluation.answers import WithoutAdapter
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import generate, remembering, score
from llmpolicy.policies.causal_lm.fast import head
from llmpolicy.policies.causal_lm.fast.door import ways
from llmpolicy.policies.causal_lm.fast.first_pass import FirstPass
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import bare, left_pad, right_pad
from llmpolicy.speed import Conditions
from tests import models

STOP = [4, 9, 17]
SERVED = ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt2", "qwen3_moe", "mixtral"]


@functools.cache
def network(architecture: str) -> torch.nn.Module:
    return CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model


def rows_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 50, (n,), generator=draw).tolist() for n in lengths]


def written(
    model: torch.nn.Module, prompts: list[list[int]], limits: int | list[int], seed: int = 0
) -> list[Turn]:
    return generate(
        model, prompts, max_new_tokens=limits, temperature=0.8, stop_ids=STOP, pad_id=0,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def true_to(model: torch.nn.Module, turns: list[Turn], atol: float = 1e-5) -> None:
    """Every log-probability is that of a plain forward of its whole row."""
    for turn in turns:
        with torch.no_grad():
            logits = model(torch.tensor([turn.state + turn.action])).logits[0].float() / 0.8
        chosen_from = torch.log_softmax(logits[len(turn.state) - 1 : -1], -1)
        truth = chosen_from.gather(1, torch.tensor(turn.action)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(turn.log_probs), truth, atol=atol, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_5"])
def test_a_row_stops_at_its_own_limit(architecture: str) -> None:
    model, limits = network(architecture), [1, 9, 3, 3, 12, 2]
    prompts = [rows_of([5, 2])[row % 2] for row in range(6)]
    turns = written(model, prompts, limits)
    for turn, limit in zip(turns, limits, strict=True):
        stopped = turn.action[-1] in STOP
        assert stopped or len(turn.action) == limit
        assert (turn.terminated, turn.truncated) == (stopped, not stopped)
    true_to(model, turns, 1e-4)
    assert written(model, prompts, [7] * 6) == written(model, prompts, 7)


def test_limits_that_fit_no_rows_are_refused() -> None:
    model, prompts = network("llama"), rows_of([3, 250])
    with pytest.raises(PolicyError, match="max_new_tokens has 3 numbers for 2 prompts"):
        written(model, prompts, [1, 2, 3])
    with pytest.raises(PolicyError, match="max_new_tokens is 0; expected at least 1"):
        written(model, prompts, [4, 0])
    with pytest.raises(PolicyError, match="prompt 1 has 250 tokens and max_new_tokens is 8, 258"):
        written(model, prompts, [2, 8])
    written(model, prompts, [200, 2])


# rows that go on


def next_states(turns: list[Turn], round_: int) -> list[list[int]]:
    """What the environment says after each turn: one token or more, ragged."""
    said = rows_of([1 + (row * 5 + round_ * 3) % 7 for row in range(len(turns))], seed=50 + round_)
    return [turn.state + turn.action + more for turn, more in zip(turns, said, strict=True)]


@contextmanager
def tokens_read(model: torch.nn.Module) -> Iterator[list[int]]:
    """How many tokens each forward is given meanwhile."""
    counts: list[int] = []
    embeddings: Any = bare(model).get_input_embeddings()  # a hook in the model is another way
    hook = embeddings.register_forward_pre_hook(lambda _, ids: counts.append(ids[0].numel()))
    try:
        yield counts
    finally:
        hook.remove()


def play(
    model: torch.nn.Module, turns: int = 4, start: int = 0, limit: int = 6, *, remember: bool
) -> list[list[Turn]]:
    """Rows of four groups in no order, of which some are left out of a turn, and some end."""
    prompts = [rows_of([start], seed=9)[0] + prompt for prompt in rows_of([12, 3, 7, 1])]
    states = [prompts[place] for place in (0, 1, 1, 2, 0, 3, 2, 2, 0, 1)]
    rounds: list[list[Turn]] = []
    waiting: list[list[int]] = []
    with remembering(model) if remember else nullcontext():
        for number in range(turns):
            limits = [1 + (row * 3 + number) % limit for row in range(len(states))]
            rounds.append(written(model, states, limits, seed=number))
            states = next_states(rounds[-1], number)
            states.reverse()
            states, waiting = [*states[2:], *waiting], states[:1]  # the second one has ended
    return rounds


@pytest.mark.parametrize("architecture", SERVED)
@pytest.mark.parametrize("start", [0, 14])
def test_turns_that_go_on_are_those_of_whole_rows(architecture: str, start: int) -> None:
    model = network(architecture)
    kept, whole = (play(model, start=start, remember=side) for side in (True, False))
    for mine, plain in zip(kept, whole, strict=True):
        assert [turn.action for turn in mine] == [turn.action for turn in plain]
        true_to(model, mine, 2e-5)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [None, {"r": 4, "init_lora_weights": False}])
def test_an_adapter_and_packed_products_serve_all_turns(
    architecture: str, dtype: torch.dtype, lora: Any
) -> None:
    torch.manual_seed(0)
    built = models.model(architecture, vocab_size=50).to(dtype)
    model = CausalLMPolicy(built, models.tokenizer(), lora=lora).model
    kept = play(model, turns=3, remember=True)
    exact = dtype == torch.float32
    for turns in kept:
        true_to(model, turns, 2e-5 if exact else 0.5)
    assert not any("forward" in vars(module) for module in model.modules())
    if exact:
        whole = play(model, turns=3, remember=False)
        for mine, plain in zip(kept, whole, strict=True):
            assert [turn.action for turn in mine] == [turn.action for turn in plain]


@pytest.mark.parametrize("architecture", ["mistral", "gemma3"])
def test_a_window_leaves_prompts_and_turns_behind(architecture: str) -> None:
    model = network(architecture)
    for turns in play(model, turns=5, limit=14, remember=True):
        true_to(model, turns, 2e-5)


def test_only_what_is_new_is_read() -> None:
    model = network("qwen3")
    prompts = [rows_of([30, 20])[row // 3] for row in range(6)]
    with remembering(model):
        first = written(model, prompts, 4)
        states = next_states(first, 1)
        with tokens_read(model) as counts:
            written(model, list(reversed(states)), 1)
            assert counts == [
                sum(
                    len(s) - len(t.state + t.action) + 1 for s, t in zip(states, first, strict=True)
                )
            ]
            written(model, states[:1], 1)  # it was taken, and is read whole
            assert counts[1:] == [len(states[0])]
    with tokens_read(model) as counts:
        written(model, states, 1)
        assert counts == [sum(map(len, states))]


def test_rows_of_the_same_tokens_are_held_and_read_once() -> None:
    model, prompt = network("llama"), rows_of([9])[0]
    with remembering(model) as memory:
        turn, *others = generate(
            model,
            [prompt] * 4,
            max_new_tokens=5,
            temperature=1.0,
            stop_ids=[],
            pad_id=0,
            greedy=True,
        )
        assert len(memory.rows) == 1 and others == [turn] * 3
        state = turn.state + turn.action
        with tokens_read(model) as counts:
            turns = written(model, [state + [7, 8], state + [7, 8], state + [8]], 3, seed=1)
            assert counts[0] == 3 + 2  # of four rows three go on
            counts.clear()
            turns += written(model, [state + [7]], 1)
            assert counts == [2] and tuple(state) not in memory.rows
            true_to(model, turns, 2e-5)
            true_to(model, written(model, [state], 2), 2e-5)  # dropped, and read whole
        memory.drop([*turns[0].state, *turns[0].action])


def test_a_row_to_which_nothing_is_said_goes_on_where_it_stood() -> None:
    model, prompt = network("mistral"), rows_of([9])[0]
    with remembering(model):
        [turn] = written(model, [prompt], 1)
        for number in range(8):
            with tokens_read(model) as counts:
                [turn] = written(model, [turn.state + turn.action], 1, seed=number)
            assert counts == [1]
            true_to(model, [turn], 2e-5)


@pytest.mark.parametrize("every", [3, 99])
def test_rows_that_the_host_sees_end_late_go_on_from_their_end(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setitem(import_module(generate.__module__).LOOK_EVERY, "cpu", every)
    for turns in play(network("gemma3"), remember=True):
        true_to(network("gemma3"), turns, 2e-5)


def test_all_is_let_go_of_in_the_end() -> None:
    model, prompts = network("llama"), rows_of([9, 8])
    with remembering(model) as memory:
        written(model, prompts, 3)
        with remembering(model) as again:
            assert again is memory
        held = [
            weakref.ref(keys) for row in memory.rows.values() for keys, _ in row.layers.values()
        ]
        assert len(held) == 4
    assert not memory.rows and not any(tensor() is not None for tensor in held)


def test_weights_and_adapters_that_change_are_refused() -> None:
    policy = CausalLMPolicy(models.model("llama"), models.tokenizer(), lora={"r": 2})
    weight = next(p for p in policy.model.parameters() if p.requires_grad)
    with remembering(policy.model):
        written(policy.model, rows_of([3]), 2)
        with policy.adapter_off(), pytest.raises(PolicyError, match="one memory for each rollout"):
            written(policy.model, rows_of([3]), 2)
        written(policy.model, rows_of([3]), 2)
        with torch.no_grad():
            weight.add_(0.0)
        with pytest.raises(PolicyError, match="begun after the update"):
            written(policy.model, rows_of([3]), 2)


def test_the_base_below_an_adapter_remembers_as_the_base() -> None:
    lora = {"r": 2, "init_lora_weights": False}
    policy = CausalLMPolicy(models.model("llama"), models.tokenizer(), lora=lora)
    base, prompts = WithoutAdapter(policy), rows_of([9, 8])
    with base.remembering() as memory:
        turns = base.complete(prompts, greedy=True, max_new_tokens=3)
        states = next_states(turns, 0)
        assert len(memory.rows) == 2
        later = base.complete(states, greedy=True, max_new_tokens=3)
    with policy.adapter_off():
        first = policy.complete(prompts, greedy=True, max_new_tokens=3)
        whole = policy.complete(states, greedy=True, max_new_tokens=3)
    assert [turn.action for turn in first] == [turn.action for turn in turns]
    assert [turn.action for turn in later] == [turn.action for turn in whole]
    alone = policy.complete(states, greedy=True, max_new_tokens=3)  # the adapter is on again
    assert [turn.log_probs for turn in alone] != [turn.log_probs for turn in whole]


def test_when_memory_runs_out_whole_rows_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, true = CausalLMPolicy(models.model("llama"), models.tokenizer()).model, FirstPass.attend
    with remembering(model) as memory:
        states = next_states(written(model, rows_of([9, 8, 7]), 3), 0)

        def attend(self: FirstPass, *arguments: Any) -> torch.Tensor:
            if self.rows:
                raise MemoryError
            return true(self, *arguments)

        monkeypatch.setattr(FirstPass, "attend", attend)
        turns = written(model, states, 3)
        true_to(model, turns, 2e-5)
        assert len(memory.rows) == 3


ROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "rope_theta": 1e4,
}


@pytest.mark.parametrize(
    ("make", "way"),
    [
        (lambda: models.model("qwen3"), "groups, kept between turns"),
        (
            lambda: models.model(
                "llama", rope_parameters={**ROPE, "original_max_position_embeddings": 20}
            ),
            "groups, whole rows read again each turn (its rotary embedding has other frequencies above 20 tokens)",
        ),
        (
            lambda: models.other("phi3"),
            "padded rows, whole rows read again each turn (attention of phi3 is not known to be plain)",
        ),
        (lambda: models.model("qwen3_5"), "states, whole rows read again each turn"),
    ],
    ids=["plain", "longrope", "padded", "recurrent"],
)
def test_the_door_says_what_is_kept_and_all_others_are_read_again(make: Any, way: str) -> None:
    model = CausalLMPolicy(make(), models.tokenizer()).model
    assert str(ways(model, Conditions(turns=True)).generation) == way
    assert str(ways(model).generation) in (
        way.split(",")[0],
        way.replace(", whole rows read again each turn", ""),
    )
    with remembering(model) as memory:
        turns = written(model, rows_of([18, 11]), 4)
        turns = written(model, next_states(turns, 1), 4)
        assert bool(memory.rows) == ("kept" in way)
        turns = written(model, next_states(turns, 2), 4)
    if "longrope" not in str(model.config.get_text_config().to_dict()):
        true_to(model, turns, 1e-4)


# the update


@pytest.mark.parametrize("architecture", [*SERVED, "qwen3_5"])
@pytest.mark.parametrize("budget", [None, 30])
def test_tokens_of_the_environment_get_no_head_and_change_no_gradient(
    architecture: str, budget: int | None
) -> None:
    model: Any = CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model
    prompts, answers = rows_of([7, 4]), rows_of([9, 1, 6, 12, 3, 8], seed=1)
    states, state_mask = left_pad([prompts[row % 2] for row in range(6)], 0, torch.device("cpu"))
    actions, there = right_pad(answers, 0, torch.device("cpu"))
    ids, mask = torch.cat([states, actions], 1), torch.cat([state_mask, there], 1)
    column, row = torch.arange(12), torch.arange(6)[:, None]
    needed = (there.bool() & ((column + row) % 5 < 3) & (row != 2)).float()  # any dtype serves
    rows, keep = Rows(ids, mask, 12), 12
    plain = score(model, ids, mask, keep, 0.7, entropy=True)
    asked = score_groups(model, rows, 0.7, entropy=True, budget=budget, needed=needed)
    assert plain.entropy is not None and asked.entropy is not None
    torch.testing.assert_close(asked.log_prob, plain.log_prob * needed, atol=1e-4, rtol=0)
    torch.testing.assert_close(asked.entropy, plain.entropy * needed, atol=1e-4, rtol=0)
    weight = torch.randn(6, 12, generator=torch.Generator().manual_seed(1)) * needed
    trained = [p for p in model.parameters() if p.requires_grad]
    for left, right in zip(
        torch.autograd.grad((asked.log_prob * weight).sum(), trained, allow_unused=True),
        torch.autograd.grad((plain.log_prob * weight).sum(), trained, allow_unused=True),
        strict=True,
    ):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            assert float((left - right).norm()) <= 1e-3 * max(float(right.norm()), 1e-3)


def test_the_head_is_asked_for_what_is_needed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, answers = network("llama"), rows_of([9, 4])
    ids = torch.tensor([[5, 6, *answers[0]], [5, 6, *answers[1], 0, 0, 0, 0, 0]])
    mask = (torch.arange(11) < torch.tensor([[11], [6]])).long()
    needed, sizes, true = mask[:, 2:].clone(), list[int](), head.log_prob_of
    needed[:, 1:3] = 0

    def count(hidden: torch.Tensor, *arguments: Any) -> Any:
        sizes.append(len(hidden))
        return true(hidden, *arguments)

    monkeypatch.setattr(head, "log_prob_of", count)
    score_groups(model, Rows(ids, mask, 9), 1.0, needed=needed)
    nothing = score_groups(model, Rows(ids, mask, 9), 1.0, needed=torch.zeros_like(needed))
    assert sizes == [9 + 4 - 4] and not nothing.log_prob.any()
