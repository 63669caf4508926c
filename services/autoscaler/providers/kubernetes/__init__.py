"""Pods of a Kubernetes cluster: one Deployment of one replica for each slot.

Of a Deployment with N replicas nobody can say which pod goes, so a busy one might; per slot, the
name is the idempotency key, and ending an idle worker can be expressed. A slot's Deployment is made
from its pool's PodTemplate to start it, and deleted, its pod first, to end it. Name, label and
annotation say whose it is; what lacks one of them is never touched.

`client.py` speaks HTTP, `trouble.py` turns refusals into sentences, `body.py` and `reply.py` say what
is sent and what comes back, `provider.py` puts them together.
"""

from autoscaler.providers.kubernetes.provider import KubernetesProvider

__all__ = ["KubernetesProvider"]
