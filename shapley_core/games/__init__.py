"""The cooperative game: coalitions, sampling designs, plans, and what was measured.

A *coalition* is a set of contributors, its *utility* v(S) the global property of the model trained on their
data alone. :mod:`~shapley_core.games.designs` draws coalitions, :mod:`~shapley_core.games.plan` lists them
with seeds and shards, :mod:`~shapley_core.games.utilities` is the table of their measured values, and
:mod:`~shapley_core.games.measured` joins the two into what the estimators solve.
"""
