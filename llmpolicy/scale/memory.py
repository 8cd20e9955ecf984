"""Bytes by part, of one of so many devices among which weights are shared out."""

from llmpolicy.scale.shape import Shape

ADAM = 2
"""Moments a weight (Kingma & Ba 2014, arXiv 1412.6980)."""


def weights(shape: Shape, *, width: int, world: int = 1) -> float:
    """All weights of ``width`` bytes, shared out (ZeRO's third stage: Rajbhandari et al. 2020,
    arXiv 1910.02054, section 5); two layers and the largest table are whole while they are used.
    """
    whole = width * shape.parameters
    if world == 1:
        return whole
    gathered = 2 * shape.linear / shape.layers + shape.vocabulary * shape.hidden
    return whole / world + 2 * gathered


def trained(shape: Shape, *, rank: int = 0) -> int:
    """How many weights have a gradient: all, or those of an adapter."""
    return shape.lora(rank) if rank else shape.parameters


def gradients(shape: Shape, *, width: int, world: int = 1, rank: int = 0) -> float:
    """One a trained weight."""
    return width * trained(shape, rank=rank) / world


def optimiser(shape: Shape, *, width: int, world: int = 1, rank: int = 0) -> float:
    """Two moments a trained weight."""
    return ADAM * width * trained(shape, rank=rank) / world


def layer(shape: Shape, tokens: float) -> float:
    """What one layer keeps of ``tokens`` for its backward pass, in bfloat16, attention without its
    scores (Dao et al. 2022, arXiv 2205.14135).

    As transformers writes it: a norm keeps its input and itself in float32 and its result twice in
    16 bits; q, k and v as turned, what attention gave, and its sums; gate, up, SiLU, their product.
    Korthikanti et al. 2022 (arXiv 2205.05198) count the same way for GPT's layer.
    """
    norms = 2 * (4 + 2 + 2) * shape.hidden
    attention = 2 * (2 * shape.attended + shape.kept) + 4 * shape.heads
    mlp = 2 * 4 * shape.inner
    return tokens * (norms + attention + mlp)


def activations(shape: Shape, tokens: float, *, again: bool) -> float:
    """What all layers and the last norm keep of ``tokens``: each layer its input, and one at a time
    the rest, where they are computed ``again``.
    """
    last = 8 * tokens * shape.hidden
    if again:
        return shape.layers * tokens * 2 * shape.hidden + layer(shape, tokens) + last
    return shape.layers * layer(shape, tokens) + last


def logits(shape: Shape, scored: float) -> float:
    """In float32, one matrix of them."""
    return 4 * scored * shape.vocabulary


def keys_and_values(shape: Shape, tokens: float) -> float:
    """A cache in 16 bits (Kwon et al. 2023, arXiv 2309.06180, section 2)."""
    return 2 * tokens * shape.layers * shape.kept
