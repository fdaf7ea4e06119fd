"""The Space: people try a recommender in the browser, change a profile, and see what happens.

`settings`, `sources` and `world` load what it shows; `answers` computes plain values from that; `interface` draws them.
"""
