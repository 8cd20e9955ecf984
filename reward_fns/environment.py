"""What the environment of a dialogue said that it earned."""

from llmpolicy.rewards import Score, reward


@reward(in_process=True)
def paid(completion: str, *, environment: float | None) -> Score:
    """What the environment paid: what its `Done`, `Answer` or `get_reward` came to.

    None, not 0, where it said nothing.
    """
    if environment is None:
        return Score(None, why="the environment said no reward")
    return Score(environment)
