"""Refinement by policy gradients: PPO with a critic, RLOO and GRPO without."""
