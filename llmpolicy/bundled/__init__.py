"""The language model that comes with llmpolicy: a few hundred thousand parameters that can almost
add.

``scripts/pretrain_bundled.py`` made it; ``addition.questions`` is its task.
"""

from pathlib import Path

MODEL: Path = Path(__file__).parent / "model"
"""The folder of the bundled model, as ``from_pretrained`` takes it."""
