"""Containers at Verda (formerly DataCrunch): one deployment of one replica for each slot.

Verda scales by its own request queue, which workers that pull from Postgres never fill, and cannot
be told which replica to end. So its scaler is off (at least one replica, at most one), and a
slot's deployment is created to start it and deleted to end it. A name says whose slot it is, an
environment variable whose installation; what lacks either is never touched.

`token.py` and `client.py` speak HTTP, `trouble.py` turns refusals into sentences, `body.py` and
`reply.py` say what is sent and what comes back, `provider.py` puts them together.
"""

from autoscaler.providers.verda.provider import VerdaProvider

__all__ = ["VerdaProvider"]
