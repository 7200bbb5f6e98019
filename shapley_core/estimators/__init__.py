"""Estimators: from a measured game to a value with its uncertainty for every contributor; one file each."""
