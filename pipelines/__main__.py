"""``python -m pipelines``: see :mod:`pipelines.cli`."""

from pipelines.cli import main

main()
