"""An environment that is slow for one row, by what the others have done and by no clock."""

import time
from pathlib import Path
from typing import Any

from llmpolicy.environments import Done


class Gate:
    """Three steps; the first of row 0 waits until all other rows have made their last."""

    def __init__(self, folder: str, others: int = 3, never: bool = False) -> None:
        self.folder, self.others, self.never = Path(folder), others, never

    def reset(self, group: int) -> str:
        self.row, self.steps = group, 0
        return "1"

    def step(self, reply: str) -> Any:
        self.steps += 1
        while self.row == 0 and self._waits():
            time.sleep(0.01)
        if self.steps < 3:
            return "2"
        (self.folder / str(self.row)).touch()
        return Done(why="enough")

    def _waits(self) -> bool:
        return self.never or len(list(self.folder.iterdir())) < self.others

    def get_reward(self) -> float:
        while self.never and self.row == 1:
            time.sleep(0.01)
        return 1.0
