"""``python -m llmpolicy`` and the command ``llmpolicy``."""

import os
import sys


def main(*words: str) -> None:
    """Run the command line, with ``words`` before its own; the current folder is not a place to
    import from.
    """
    sys.argv[1:1] = words
    leave_current_folder()
    from llmpolicy.cli import run

    run()


def leave_current_folder() -> None:
    """Take the current folder off the search path, of this process and of those that it starts.

    Python puts it there for ``-m``, for a script that lies in it, and for entries of PYTHONPATH
    that are empty or relative.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it is gone
        here = ""
    absolute, dropped = [], {""}
    asked = os.environ.get("PYTHONPATH")
    for folder in asked.split(os.pathsep) if asked else ():
        if os.path.isabs(folder):
            absolute.append(folder)
        else:
            dropped.add(os.path.normpath(os.path.join(here, folder)))
    put_first = not sys.flags.safe_path and sys.path[:1] in ([here], [""])
    before, root = sys.path[put_first:], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    dropped.difference_update(absolute)
    sys.path[:] = filter(lambda folder: folder not in dropped, before)
    if root in before and root not in sys.path:  # an installed checkout is the current folder
        sys.path.append(root)
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


if __name__ == "__main__":
    main()
