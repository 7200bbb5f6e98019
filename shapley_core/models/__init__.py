"""Model families, their checkpoints, and sampling."""
