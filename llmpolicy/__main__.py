"""``python -m llmpolicy`` and the command ``llmpolicy``."""

import os
import sys


def main() -> None:
    """Run the command line; the current folder is not a place to import from."""
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
    asked = os.environ["PYTHONPATH"].split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    absolute = [place for place in asked if os.path.isabs(place)]
    relative = {
        os.path.normpath(os.path.join(here, place)) for place in asked if not os.path.isabs(place)
    }
    put_first = not sys.flags.safe_path and sys.path[:1] in ([here], [""])
    dropped = {"", *relative} - set(absolute)
    before, root = list(sys.path), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [place for place in before[put_first:] if place not in dropped]
    if (
        root in before[put_first:] and root not in sys.path
    ):  # an installed checkout that is the current folder
        sys.path.append(root)
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


if __name__ == "__main__":
    main()
