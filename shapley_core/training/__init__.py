"""Training with the diffusion loss: full model, pruned model, coalitions."""
