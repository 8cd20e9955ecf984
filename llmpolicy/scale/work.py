"""Floating-point operations of matrix products, two a multiplication; scores of attention are
counted whole, whatever a mask leaves out.
"""

from llmpolicy.scale.shape import Shape


def forward(shape: Shape, tokens: float, seen: float, scored: float) -> float:
    """A forward pass over ``tokens`` that each see ``seen`` tokens, of which ``scored`` get logits.

    2 a weight and token (Kaplan et al. 2020, arXiv 2001.08361, table 1), 4 a number of all query
    heads, token and token seen (Hoffmann et al. 2022, arXiv 2203.15556, appendix F).
    """
    attention = 4 * shape.layers * shape.attended * seen
    head = 2 * shape.vocabulary * shape.hidden
    return tokens * (2 * shape.linear + attention) + scored * head


def update(
    shape: Shape, tokens: float, seen: float, scored: float, *, again: bool, rank: int = 0
) -> float:
    """A forward and a backward pass: the backward takes twice the forward, once where only an
    adapter of a ``rank`` has gradients, and scores of attention once more (Dao et al. 2022, arXiv
    2205.14135); ``again`` where layers are computed once more for it (Chen et al. 2016, arXiv
    1604.06174), but for the last product of each, of which nothing is kept.
    """
    whole = forward(shape, tokens, seen, scored)
    attention = tokens * 4 * shape.layers * shape.attended * seen
    recomputed = attention / 2
    if again:
        last = 2 * shape.layers * shape.inner * shape.hidden
        recomputed += forward(shape, tokens, seen, 0.0) - tokens * last
    if not rank:
        return 3 * whole + recomputed
    adapter = 2 * tokens * shape.lora(rank)
    # both factors of a score have a gradient, whatever is trained
    return 2 * whole + attention + recomputed + (3 + again) * adapter


def generation(
    shape: Shape, prompts: float, group: int, prompt: float, completion: float, *, shared: bool
) -> float:
    """Prompts are read, once a group if they are ``shared``, and completions written token by
    token, with keys and values kept.
    """
    rows = prompts * group
    reads = prompts if shared else rows
    read = forward(shape, reads * prompt, prompt, reads)
    written = rows * (completion - 1)
    return read + forward(shape, written, prompt + (completion + 1) / 2, written)
