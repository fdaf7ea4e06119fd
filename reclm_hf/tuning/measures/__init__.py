"""What a stage of tuning did: measures of profiles and of answers, and their comparison."""
