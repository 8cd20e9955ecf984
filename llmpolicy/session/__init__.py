"""What the command line and ``llmpolicy.train`` do: runs from beginning to end, evaluations, the
demo.
"""

from llmpolicy.session.evaluate import evaluate_model
from llmpolicy.session.training import run_demo, train, train_recipe, train_stages

__all__ = ["evaluate_model", "run_demo", "train", "train_recipe", "train_stages"]
