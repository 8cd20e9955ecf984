"""Memory that runs out costs time, not the step: the window is taken again in smaller passes, with
the same gradient.

The allocator fails because the system gives it no more (RLIMIT_AS), as on a machine that is full.
"""

import contextlib
import ctypes
import gc
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy, out_of_memory
from llmpolicy.policies.causal_lm.generate import generate
from tests import training
from tests.models import model, tokenizer
from tests.test_window import same, update

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere address space is no limit"
)
ROWS, LENGTH, WIDE = (
    16,
    160,
    {"hidden_size": 64, "intermediate_size": 4096, "max_position_embeddings": 512},
)


def address_space() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
    """What some work gives, and by how much it widened the address space at most."""
    trim()
    before, peak, ended = address_space(), 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.is_set():
            peak = max(peak, address_space())
            time.sleep(1e-3)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        given = work()
    finally:
        ended.set()
        thread.join()
    return given, peak - before


def trim() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def room(size: float) -> Iterator[None]:
    """Let this process have so many bytes more, and not one beyond."""
    trim()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + int(size), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(autouse=True)
def not_said() -> Iterator[None]:
    out_of_memory._said.clear()
    yield
    out_of_memory._said.clear()


def policy() -> CausalLMPolicy:
    words = tokenizer(alphabet=training.ALPHABET)
    return CausalLMPolicy(
        model(seed=0, vocab_size=len(words), initializer_range=0.1, **WIDE), words
    )


def trainer(folder: Path) -> PolicyTrainer:
    made = training.trainer(
        folder,
        policy(),
        per_device_train_batch_size=ROWS,
        max_completion_length=LENGTH,
        temperature=0.9,
    )
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


def inputs() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 20, (ROWS, LENGTH), generator=draw)
    prompts = torch.randint(5, 20, (4, 5), generator=draw).repeat_interleave(4, 0)
    return {
        "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": ids,
        "completion_mask": torch.ones_like(ids), "advantages": torch.randn(ROWS, generator=draw),
        "old_per_token_logps": -2.9 + 0.1 * torch.randn(ROWS, LENGTH, generator=draw),
        "num_items_in_batch": torch.tensor(ROWS * LENGTH),
    }  # fmt: skip


@pytest.mark.alone  # what a process has freed before it would take without asking for more
def test_a_window_that_needs_too_much_memory_is_made_of_smaller_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, rows = trainer(tmp_path), inputs()
    whole, peak = peak_of(lambda: update(made, rows))
    assert made.budget.divisor == 1 and not [line for line in caplog.messages if "memory" in line]
    with room(0.6 * peak):
        smaller = update(made, rows)
        again = update(made, rows)
    assert made.budget.divisor > 1
    assert [line for line in caplog.messages if "memory" in line] == [
        "memory ran out in an update; it is done again, and from now on, in smaller parts"
    ]
    same(smaller, whole)
    same(again, whole)


@pytest.mark.alone
@pytest.mark.slow
def test_what_had_been_accumulated_before_the_window_is_kept(tmp_path: Path) -> None:
    made, rows = trainer(tmp_path), inputs()
    names = [name for name, parameter in made.model.named_parameters() if parameter.requires_grad]

    def second_window() -> dict[str, torch.Tensor]:
        made.model.zero_grad()
        for parameter in made.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        made.compute_loss(made.model, dict(rows)).backward()
        return {name: made.model.get_parameter(name).grad.clone() for name in names}  # type: ignore[union-attr]

    whole, peak = peak_of(second_window)
    with room(0.6 * peak):
        smaller = second_window()
    assert made.budget.divisor > 1
    for name, gradient in whole.items():
        torch.testing.assert_close(smaller[name], gradient, rtol=1e-4, atol=1e-4)


def test_where_one_completion_is_too_much_a_sentence_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sizes = trainer(tmp_path), []
    usual = made.scorer

    def never(model: Any, inputs: Any) -> Any:
        sizes.append(len(inputs["advantages"]))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(made, "_compute_loss", never)
    with pytest.raises(
        PolicyError, match="although each completion was taken alone: lower max_completion_length"
    ):
        update(made, inputs())
    assert sizes[0] == ROWS and sizes[-1] == 1 and sorted(sizes, reverse=True) == sizes
    monkeypatch.undo()
    assert made.scorer is usual
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_several_processes_do_not_repeat_a_step_of_which_others_know_nothing(
    tmp_path: Path,
) -> None:
    from llmpolicy.grpo.update import check_can_shrink

    made = trainer(tmp_path)
    check_can_shrink(made, [[0, 1]])
    made.accelerator.state._shared_state["num_processes"] = 2
    try:
        with pytest.raises(
            PolicyError, match="several processes, which cannot be made again by one of them alone"
        ):
            check_can_shrink(made, [[0, 1]])
    finally:
        made.accelerator.state._shared_state["num_processes"] = 1


def actions(turns: list[Turn]) -> list[list[int]]:
    return [turn.action for turn in turns]


@pytest.mark.alone
@pytest.mark.slow
def test_fewer_rows_are_written_at_once_when_memory_runs_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written_by = policy()
    prompts = [[5 + row] * 450 for row in range(12)]
    settings: dict[str, Any] = {
        "max_new_tokens": 6, "temperature": 1.0, "stop_ids": written_by.stop_ids, "pad_id": written_by.pad_id,
    }  # fmt: skip

    def write(greedy: bool) -> Any:
        return generate(
            written_by.model,
            prompts,
            greedy=greedy,
            generator=torch.Generator().manual_seed(1),
            **settings,
        )

    write(greedy=True)  # threads and packed weights are made once, and are no part of the peak
    whole, peak = peak_of(lambda: write(greedy=True))
    with room(0.6 * peak):
        assert actions(write(greedy=True)) == actions(whole)
        assert actions(write(greedy=False)) == actions(write(greedy=False))
    assert len([line for line in caplog.messages if "memory ran out in generation" in line]) == 1
    with (
        room(0.02 * peak),
        pytest.raises(
            PolicyError, match="while one completion of up to 6 tokens was written; lower"
        ),
    ):
        write(greedy=True)


def test_memory_that_runs_out_anywhere_else_is_a_sentence_with_what_to_lower() -> None:
    code = (
        "import torch; from llmpolicy import cli; cli.app = lambda **_: torch.empty(2**60);"
        " cli.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and done.stderr.startswith("error: memory ran out ("), done.stderr
    assert "lower per_device_train_batch_size" in done.stderr and done.stderr.count("\n") == 1
    assert done.stderr.endswith("goes on with --out DIR --resume\n")
