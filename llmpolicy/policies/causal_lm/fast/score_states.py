"""The scorer by states: each prompt is read once, and what the model carries on after it is given
to all its completions.

Transformers writes states into a cache in place; here each layer keeps a new tensor instead, so
that there is a way back through them to the prompt. Which models go on from a state over several
tokens is tried out, gradient included.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import DynamicCache

from llmpolicy.policies.causal_lm.fast.head import head_reason, log_prob_of
from llmpolicy.policies.causal_lm.fast.patched import patched
from llmpolicy.policies.causal_lm.fast.read_states import CANNOT, StateReader
from llmpolicy.policies.causal_lm.fast.rows import Group, Rows
from llmpolicy.policies.causal_lm.forward import (
    accepts,
    bare,
    cache_argument,
    forward,
    is_there,
    left_pad,
    right_pad,
    unwrapped,
    vocabulary,
)
from llmpolicy.policies.causal_lm.frequencies import switches
from llmpolicy.policies.causal_lm.kinds import adapter_reason
from llmpolicy.policies.causal_lm.score import entropy_of, score
from llmpolicy.policies.causal_lm.trial import log_apart, tolerance, train_mode

_NATS, _NATS_16, _SHARE, _SHARE_16 = 1e-3, 0.1, 1e-2, 0.1
"""How far log-probabilities, in nats, and gradients, in parts of their size, may lie from those of
whole rows.
"""


def state_pass(
    model: nn.Module,
    rows: Rows,
    groups: Sequence[Group],
    temperature: float,
    entropy: bool,
    _: Any = None,
    asked: Tensor | None = None,
) -> Tensor:
    """Log-probability and entropy of each completion token, (S, 2), row after row of group after
    group, or of those ``asked`` for alone.
    """
    device, order, prompt_of = rows.places.device, list[int](), list[int]()
    for prompt, group in enumerate(groups):
        order += group
        prompt_of += [prompt] * len(group)
    labels, there = right_pad([rows.completions[row] for row in order], 0, device)  # (R, T)
    prompts, inner = [rows.prompts[group[0]] for group in groups], there.bool()
    head = _head(model)
    with patched(model, None, [] if head is None else [(head, _itself)]):
        read = _read(model, prompts, torch.tensor(prompt_of, device=device), labels[:, :-1])
    chosen, seen = labels[inner], read[inner]  # (S,), (S, any)
    if asked is not None:
        chosen, seen = chosen[asked], seen[asked]
    if head is None:
        log_probs = torch.log_softmax(seen.float() / temperature, -1)  # (S, V)
        of_chosen = log_probs.gather(1, chosen[:, None])[:, 0]
        return torch.stack([of_chosen, entropy_of(log_probs.detach())], -1)
    bias = getattr(head, "bias", None)
    return torch.stack(log_prob_of(seen, head.weight, bias, chosen, temperature, entropy), -1)


def _itself(hidden: Tensor) -> Tensor:
    """What a head is given takes the place of logits, so that those of all places are never
    held.
    """
    return hidden


def _read(model: nn.Module, prompts: list[list[int]], prompt_of: Tensor, ids: Tensor) -> Tensor:
    """What the model gives after each prompt's rows, and after each of their tokens (R, T - 1), (R,
    T, any).
    """
    # A single token is read by kernels that write states in place.
    wide = pad(ids, (0, max(2 - ids.shape[1], 0)))
    reader = StateReader(model, prompts, prompt_of, wide.shape[1], partial(_cache, model))
    begun = reader.prompts()[prompt_of][:, None]
    if not ids.shape[1]:
        return begun
    return torch.cat([begun, reader.read(wide)[:, : ids.shape[1]]], 1)


def _cache(model: nn.Module) -> dict[str, Any]:
    """A cache, by the name of the model's argument, of which no state is ever changed in place."""
    cache = DynamicCache(config=bare(model).config.get_text_config(decoder=True))
    for layer in cache.layers:
        if hasattr(layer, "conv_states"):
            vars(layer).update(
                update_conv_state=partial(_keep_conv, layer),
                update_recurrent_state=partial(_keep_recurrent, layer),
            )
    return {str(cache_argument(model)): cache}


def _keep_conv(
    layer: Any, new: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
) -> Tensor:
    """The inputs of a convolution with those before them, (b, d, S + t), of which the last are
    kept.
    """
    if layer.has_previous_state[state_idx]:
        size, whole = (
            layer.conv_kernel_size[state_idx],
            torch.cat([layer.conv_states[state_idx], new], -1),
        )
    else:
        size = conv_kernel_size or new.shape[-1]
        whole = pad(new, (max(size - new.shape[-1], 0), 0))
    layer.conv_kernel_size[state_idx], layer.has_previous_state[state_idx] = size, True
    layer.is_conv_states_initialized[state_idx], layer.dtype, layer.device = (
        True,
        new.dtype,
        new.device,
    )
    layer.conv_states[state_idx] = whole[..., -size:]
    return whole


def _keep_recurrent(layer: Any, new: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
    layer.recurrent_states[state_idx], layer.is_recurrent_states_initialized[state_idx] = new, True
    return new


# which models, and whether the head is theirs alone


def state_path(model: nn.Module) -> str | None:
    """Why a recurrent model's rows cannot go on from their prompt's state in training, or None;
    tried out once a model.
    """
    whole = unwrapped(model)
    if whole not in _reasons:
        _reasons[whole] = _reason(whole)
    return _reasons[whole]


_reasons: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()
_heads: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether logits are what a model's head gives, or a multiple of it."""


def _head(model: nn.Module) -> Any:
    """The output head, None where the model does something else to logits than to scale them; tried
    out once a model.
    """
    inner = bare(model)
    if inner not in _heads:
        _heads[inner] = _is_last(model, inner.get_output_embeddings())
    return inner.get_output_embeddings() if _heads[inner] else None


@torch.no_grad()
def _is_last(model: nn.Module, head: Any) -> bool:
    if head_reason(model) is not None or not accepts(model, "logits_to_keep"):
        return False
    ids = torch.arange(1, 3, device=head.weight.device)[None]
    steep = torch.linspace(-300, 300, len(head.weight), device=head.weight.device)  # (V,)

    def steepest(hidden: Tensor) -> Tensor:
        return steep.to(hidden.dtype).expand(*hidden.shape[:-1], -1)

    with patched(model, None, [(head, steepest)]):
        logits, _ = forward(model, ids, None, ids - 1, 1, use_cache=False)
    if len(steep) != logits.shape[-1]:
        return False
    multiple = steep * (logits[0, 0, -1].float() / steep[-1])
    return torch.allclose(logits[0, 0].float(), multiple, rtol=1e-2, atol=1e-2)


def _reason(model: Any) -> str | None:
    inner = bare(model)
    kind = type(inner).__name__
    if reason := adapter_reason(model):
        return reason
    if not is_there(model) or cache_argument(model) is None or switches(model):
        return f"{kind} carries a state over all tokens before"
    if len(set(getattr(inner, "hf_device_map", {}).values())) > 1:
        return "the model is spread over several devices"
    try:
        _head(model)  # tried out now, and not among what is compared
        return _unread(model) or _difference(model)
    except CANNOT as error:
        return f"{kind} does not go on from a state of its own ({error})"


def _unread(model: nn.Module) -> str | None:
    """In words, if some layer reads several tokens as if its state were not there, as Mamba's scan
    does.
    """
    device = next(model.parameters()).device
    ids = (torch.arange(12, device=device) * 7919 % vocabulary(model)).tolist()
    prompt_of, states = torch.zeros(1, dtype=torch.long, device=device), list[Tensor]()
    reader = StateReader(model, [ids[:8]], prompt_of, 4, partial(_cache, model))
    with train_mode(model), torch.enable_grad():
        reader.prompts()
        for layer in reader.parts[0].state.layers:
            held = vars(layer).get("recurrent_states", {})
            for index, carried in held.items():
                if carried is not None:
                    held[index] = carried.detach().requires_grad_()
                    states.append(held[index])
        total = reader.read(torch.tensor([ids[8:]], device=device)).float().sum()
    used = torch.autograd.grad(total, states, allow_unused=True) if states else ()
    unread = (
        f"{type(bare(model)).__name__} does not go on from a state of its own over several tokens"
    )
    return unread if any(gradient is None for gradient in used) else None


def _difference(model: nn.Module) -> str | None:
    """In words, if a few rows have other log-probabilities or gradients by their prompts' states
    than as a whole.
    """
    parameter = next(model.parameters())
    tokens = (torch.arange(48) * 7919 % vocabulary(model)).tolist()
    long, short, ends = (
        tokens[:20],
        tokens[20:36],
        [tokens[36:39], tokens[39:40], tokens[40:46], tokens[46:48]],
    )
    prompts, prompt_mask = left_pad([long, long, short, short], 0, parameter.device)
    actions, action_mask = right_pad(ends, 0, parameter.device)
    ids, mask = torch.cat([prompts, actions], 1), torch.cat([prompt_mask, action_mask], 1)
    known = torch.tensor([*long[:10], *short[:8]], device=parameter.device)
    # The first token of a completion is chosen from its prompt alone; what later ones owe to it
    # came through the state.
    later = torch.cat([torch.arange(len(end)) for end in ends]).sin().to(parameter.device)
    rows, keep = Rows(ids, mask, actions.shape[1]), actions.shape[1]
    sides = (
        lambda: score(model, ids, mask, keep, 1.0).log_prob[action_mask.bool()],
        lambda: state_pass(model, rows, [[0, 1], [2, 3]], 1.0, False)[:, 0],
    )
    with train_mode(model), torch.enable_grad():
        (expected, slope), (shared, shared_slope) = (
            _with_slope(model, known, later, side) for side in sides
        )
    apart = float(log_apart(expected, shared).mean())
    share = float((slope - shared_slope).norm() / slope.norm())
    nats, part = tolerance(model, _NATS, _NATS_16), tolerance(model, _SHARE, _SHARE_16)
    if apart <= nats and share <= part:
        return None
    return (
        f"{type(bare(model)).__name__} does not go on from a state of its own as it began, by"
        f" {apart:.2g} nats"
    )


def _with_slope(
    model: nn.Module, tokens: Tensor, later: Tensor, read: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (S,), and the gradient of a sum of them by what each token is embedded as,
    (V', h).
    """
    embedded: list[tuple[Tensor, Tensor]] = []

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        embedded.append((inputs[0].flatten(), output.detach().requires_grad_()))
        return embedded[-1][1]

    handle = bare(model).get_input_embeddings().register_forward_hook(hook)
    try:
        log_prob = read()
    finally:
        handle.remove()
    gradients = torch.autograd.grad((log_prob * later).sum(), [output for _, output in embedded])
    slopes = torch.cat([gradient.flatten(0, -2).float() for gradient in gradients])
    is_of = torch.cat([ids for ids, _ in embedded]) == tokens[:, None]  # (V', N)
    return log_prob.detach().float(), is_of.float() @ slopes
