"""One file per stage of a valuation: reads folders, writes folders, returns metrics; knows nothing of Kubeflow.

    prepare -> plan, train -> prune -> reference -> (finetune_subset -> generate -> score) per shard -> estimate

A stage can be run again: it finishes what is missing and repeats nothing that is done.
"""

from shapley_core import startup

startup.begins()
