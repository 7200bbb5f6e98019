"""Contributor data sets: one on-disk form (``dataset``), one file per source (``sources``)."""
