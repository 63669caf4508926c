"""The combined worker: both families of tasks on one GPU that holds both models.

Everything is said of the visual and the text worker, whose handlers it takes as they are; it has
none of its own. It serves the pool `combined`, to which `reveille pools --combine` leads all task
types: one cold start in place of two, one idle GPU in place of two.
"""
