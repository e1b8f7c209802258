"""Write four months of a support desk's tasks as chat files: python make.py FOLDER."""

import sys
from pathlib import Path

from kpig.tasks import desk

if __name__ == "__main__":
    desk.write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
