"""When memory runs out: what was begun is let go of and made again from the same random numbers, in
smaller parts.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

_SAID = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "ALLOC_FAILED",
    "could not create a primitive",
    "can't start new thread",
)
"""How devices, and the libraries that compute on them, say so in exceptions of no kind of their
own.
"""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def unless_out_of_memory(work: Callable[[], Any]) -> Any:
    """What some work gives; None when memory ran out in it, and all that it held is then free."""
    from accelerate.utils.memory import clear_device_cache

    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    # Here the error is gone, and with it the frames that held tensors.
    clear_device_cache(garbage_collection=True)
    return None


def random_state(
    device: torch.device, generator: torch.Generator | None = None
) -> Callable[[], None]:
    """Note the random numbers that come next, of a generator or else of the global streams; the
    call goes back to them.
    """
    if generator is not None:
        return partial(_restore, [generator.set_state], [generator.get_state()])
    modules = [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
    states = [module.get_rng_state() for module in modules]
    return partial(_restore, [module.set_rng_state for module in modules], states)


def _restore(setters: Sequence[Callable[[Tensor], Any]], states: Sequence[Tensor]) -> None:
    for setter, state in zip(setters, states, strict=True):
        setter(state)


_said: set[str] = set()


def say_once(what: str) -> None:
    """Warn that something is made in smaller parts, once a process for each kind of work."""
    if what not in _said:
        _said.add(what)
        logging.getLogger("llmpolicy").warning(
            "memory ran out in %s; it is done again, and from now on, in smaller parts", what
        )
