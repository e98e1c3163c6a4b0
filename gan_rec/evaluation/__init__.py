"""Evaluation: full ranking of the catalogue, metrics per user, intervals and paired tests."""
