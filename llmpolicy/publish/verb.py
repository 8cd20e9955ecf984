"""The verb of the command line: publish a run folder, and show what was (or would be) sent."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmpolicy.publish.push import Published, publish
from llmpolicy.run import Run
from llmpolicy.terminal import visible


def publish_run(
    run: str | Path,
    repo: str,
    *,
    public: bool = False,
    trust_remote_code: bool = False,
    console: Console | None = None,
    **how: Any,
) -> Published:
    """Publish the run in a folder as USER/NAME, ``how`` as `publish` says, and print the files with
    sizes and hashes.

    No code that its recipe names is run; that of its model only with ``trust_remote_code``, to
    merge the adapter. Raises RunError when the folder holds no run and PublishError when it cannot
    be published as asked.
    """
    opened = Run.open(run)
    opened.remote_code = trust_remote_code
    published = publish(opened, repo, private=not public, **how)
    show(published, console or Console(), "public" if public else "private")
    return published


def show(published: Published, console: Console, visibility: str) -> None:
    """Print the table of files and one line that says where they went."""
    choice = published.choice
    form = choice.what if choice.trained == "adapter" else "full weights"
    table = Table(title=f"{form}, {choice.which} step")
    table.add_column("file", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    # The hash alone gives way where the terminal is narrow.
    table.add_column("sha256", overflow="ellipsis")
    for file in published.files:
        table.add_row(escape(visible(file.name)), f"{file.size:,}", file.sha256)
    console.print(table)
    for line in published.replaced:
        console.print(f"replaced: {escape(visible(line))}", soft_wrap=True)
    where = f"{escape(visible(published.repo_url))} ({visibility})"
    if published.commit is None:
        console.print(f"dry run: nothing was sent; it would go to {where}", soft_wrap=True)
    else:
        console.print(f"published: {where}, commit {published.commit}", soft_wrap=True)
