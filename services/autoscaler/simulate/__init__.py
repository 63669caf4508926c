"""The simulator: a pool's life under any policy, with the decisions of the real `decide`.

Owns nothing and touches nothing: no database, no provider, no clock. `load.py` says what arrives,
`engine.py` plays it event by event, `bound.py` says what no policy could beat, `score.py` compares
and `picture.py` draws. Simplified against the real thing: a replica has one slot, nothing fails, a
cold start always takes the same time and is billed, and a stop is immediate.
"""
