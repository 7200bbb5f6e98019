"""How well an attribution predicts what retraining would show."""
