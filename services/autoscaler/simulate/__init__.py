"""The simulator: a pool's life under any policy, with the decisions of the real `decide`.

Owns nothing and touches nothing: no database, no provider, no clock. `load.py` says what arrives,
`weather.py` what goes wrong, `engine.py` plays it event by event, `almanac.py` remembers its
weeks, `bound.py` says what no policy could beat, `score.py` and `months.py` compare, `tune.py`
searches, `picture.py` draws. The one exception: `history.py` reads a deployment's own past.
Simplified against the real thing: a replica has one slot, a start is billed from its first moment,
and a stop is immediate.
"""
