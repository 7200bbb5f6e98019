"""What people look at: a self-contained HTML report of a valuation, one of an evaluation, and their figures as pictures."""
