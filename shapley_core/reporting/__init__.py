"""What people look at: self-contained HTML reports of a valuation and of an evaluation, and their figures."""
