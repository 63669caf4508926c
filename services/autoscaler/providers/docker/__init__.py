"""Containers on one Docker host, or on whatever speaks the Docker Engine API.

`engine.py` speaks HTTP with the engine and turns its errors into sentences, `body.py` says what a
container of ours looks like, `provider.py` puts the two together.
"""

from autoscaler.providers.docker.provider import DockerProvider

__all__ = ["DockerProvider"]
