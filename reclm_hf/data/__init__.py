"""Tables in, arrays out: validation, id space, temporal splits, shared features. Imports nothing else of ours."""
