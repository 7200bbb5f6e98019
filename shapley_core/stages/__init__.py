"""One file per stage of a valuation: reads folders, writes folders, returns metrics; knows nothing of Kubeflow.

    prepare -> plan, train -> prune -> reference -> (finetune_subset -> generate -> score) per shard -> estimate

A stage can be run again: it finishes what is missing and repeats nothing that is done.
"""

import gc

# A task is a process of its own that imports hundreds of thousands of objects first, none of which is ever garbage:
# looking through them as often as Python does by itself takes a sixth of the time until it works.
gc.set_threshold(20_000)
