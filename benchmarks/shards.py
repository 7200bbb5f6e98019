"""The shards of a game measured side by side, as the pipeline's loop does, and their utilities as one table."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd

from shapley_core.games.utilities import merge_utilities, read_utilities
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import utility_file

#: Processes at a time.
PROCESSES = 2


def measured(chain: Chain, shards: Sequence[int]) -> pd.DataFrame:
    """Utilities of the plan's shards; what the chain's store has is taken from there."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        list(pool.map(chain.measure, shards))
    return merge_utilities(read_utilities(utility_file(chain.path(f"utilities-{shard}"))) for shard in shards)
