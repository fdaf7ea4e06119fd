"""Profiles of users: neighbours, prompts, engines, generation, and the certificate that nothing leaked over the cut."""
