"""The end of an episode, said by the model."""

from llmpolicy.environments.conversation import Done


def finish(answer: str) -> Done:
    """Give the final answer; nothing can be said or done afterwards.

    Args:
        answer: The final answer.
    """
    return Done(why=answer)
