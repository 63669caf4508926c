"""KEDA's external-push scaler: the autoscaler's numbers, for a cluster where KEDA changes a
StatefulSet's replicas.

The provider `keda` (providers/keda.py) starts and ends nothing: a container of its is a row, and what
is published is, per pool, the highest slot of the live rows plus one. A StatefulSet's pods are
numbered the same way and go from the top, so a pod below a busy one stays, and the busy one too.

`messages.py` is the protocol (externalscaler.proto beside it says it in its own language),
`published.py` the numbers, `server.py` speaks gRPC, in every autoscaler, whether it leads or not.
"""
