"""The Hub: every artefact out and back, with a manifest that says what it came from and a card rendered from it."""
