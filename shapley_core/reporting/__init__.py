"""What people look at: one self-contained HTML report of a valuation, and its figures as pictures."""
