"""The helpers of the stages' tests serve those of the components too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "stages"))
