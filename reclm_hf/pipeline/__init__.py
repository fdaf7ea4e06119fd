"""What the commands run: stages over data, profiles, recommenders and evaluation, each resumable in its run folder."""
