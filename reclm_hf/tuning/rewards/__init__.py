"""Rewards: a model learnt from preferences, and one that can be verified."""
