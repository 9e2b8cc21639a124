"""Scores, and the parameters chosen by them."""
