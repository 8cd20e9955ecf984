"""Length rewards, counted in tokens of the completion."""

from collections.abc import Sequence

from llmpolicy.rewards import RewardError, Score


def overlong(completion_ids: Sequence[int], max_length: int, cache: int) -> float:
    """Soft overlong punishment: 0 up to max_length - cache tokens, then linear down to -1 at max_length, -1 beyond.

    R(y) = 0, (L_max - L_cache - |y|) / L_cache, -1; DAPO (arXiv 2503.14476), eq. 13. RewardError unless
    0 < cache < max_length.
    """
    if not 0 < cache < max_length:
        raise RewardError(
            f"length:overlong got max_length {max_length} and cache {cache}; expected 0 < cache < max_length."
        )
    free = max_length - cache
    return max(-1.0, min(0.0, (free - len(completion_ids)) / cache))


def target(completion: str, completion_ids: Sequence[int], target: int, tolerance: int | None = None) -> Score:
    """1 at ``target`` tokens, falling linearly to 0 at ``tolerance`` tokens away (default: target); 0 for blank text.

    RewardError unless target and tolerance are positive.
    """
    width = target if tolerance is None else tolerance
    if target <= 0 or width <= 0:
        raise RewardError(f"length:target got target {target} and tolerance {tolerance}; expected positive numbers.")
    if not completion.strip():
        return Score(0.0, why="blank")
    return Score(max(0.0, 1 - abs(len(completion_ids) - target) / width))
