"""Tuning of profilers on TRL: supervised, reward model, policy gradients; and what each stage did."""
