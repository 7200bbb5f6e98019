"""Shapley values of a diffusion model's global properties for the contributors of its training data.

Everything that can be said without Kubeflow. The light half (``games``, ``estimators``, ``evaluation``,
``reporting``) needs numpy and scipy only; the heavy half (``data``, ``models``, ``training``, ``pruning``,
``properties``) brings torch and diffusers. Importing this package imports neither.
"""

__version__ = "0.1.0"
