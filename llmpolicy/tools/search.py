"""Search over a folder of texts, by words (BM25)."""

import functools
from pathlib import Path
from typing import Any

from llmpolicy.environments.extras import library
from llmpolicy.errors import RecipeError

SUFFIXES = (".txt", ".md")


class Search:
    """The paragraphs of a ``folder`` of .txt and .md files, of which the ``best`` are told: to be
    named as an environment beside a task, or inherited.
    """

    def __init__(self, folder: str, best: int = 3, most: int = 1000) -> None:
        self._best, self._most = best, most
        self._library = library("bm25s", "search")
        self._texts, self._index = _indexed(str(Path(folder).expanduser().resolve()))

    def reset(self) -> None:
        """Nothing is kept from episode to episode."""

    def search(self, query: str) -> str:
        """Search the texts; the paragraphs that fit the words best are returned, each with the name
        of its file.

        Args:
            query: The words to look for.
        """
        words = self._library.tokenize([query], stopwords="en", show_progress=False)
        count = min(self._best, len(self._texts))
        places, scores = self._index.retrieve(words, k=count, show_progress=False)
        hits = [int(place) for place, score in zip(places[0], scores[0], strict=True) if score > 0]
        return "\n\n".join(self._texts[hit][: self._most] for hit in hits) or "nothing fits"


@functools.cache
def _indexed(folder: str) -> tuple[list[str], Any]:
    """The paragraphs, each behind its file's name, and their index."""
    texts = []
    for file in sorted(Path(folder).rglob("*")):
        if file.suffix in SUFFIXES and file.is_file():
            paragraphs = file.read_text(encoding="utf-8", errors="replace").split("\n\n")
            name = file.relative_to(folder)
            texts += [f"{name}: {text.strip()}" for text in paragraphs if text.strip()]
    if not texts:
        raise RecipeError(
            f"search: {folder} holds no text; expected a folder of {' and '.join(SUFFIXES)} files"
        )
    bm25s = library("bm25s", "search")
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    return texts, index
