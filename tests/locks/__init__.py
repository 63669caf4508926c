"""What we depend on, as the lock files pin it: whether they can be trusted, whether they hold what
pyproject.toml asks for, and whether an advisory is known against a version in them.

`python -m tests.locks` is part of `make check`. All but the question to osv.dev works without a
network; where it does not answer, that is said and is no failure (`--strict` makes it one).
"""
