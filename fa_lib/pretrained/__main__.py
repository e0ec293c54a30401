"""`python -m fa_lib.pretrained make` and `measure --data DIR`: how MODEL_CARD.md comes by its network and its numbers."""

import argparse
import json
import sys

from fa_lib import pretrained
from fa_lib.errors import InputError


def main(words: list[str] | None = None) -> int:
    """Makes or measures the shipped network; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fa_lib.pretrained", description=__doc__)
    parser.add_argument("what", choices=["make", "measure"], help="make: some 40 minutes of one CPU core")
    parser.add_argument("--data", metavar="DIR", help="measure: the folder of 300-W, for its photographs")
    chosen = parser.parse_args(words)
    try:
        if chosen.what == "make":
            print(pretrained.make())
        else:
            print(json.dumps(pretrained.measure(chosen.data), indent=1))
    except InputError as error:
        print(f"fa: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
