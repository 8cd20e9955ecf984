"""From a finished run to a model on the Hub: the list of files, the card, the push."""

from llmpolicy.publish.files import PublishedFile
from llmpolicy.publish.push import Published, publish
from llmpolicy.publish.verb import publish_run

__all__ = ["Published", "PublishedFile", "publish", "publish_run"]
