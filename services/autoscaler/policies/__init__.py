"""Policies by name. A policy is a pure function; adding one is a module and a line here.

Types only are imported from the rest of the autoscaler, so that a policy can be replayed anywhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from autoscaler.policies import marginal, threshold
from autoscaler.state import Decision, PoolState

if TYPE_CHECKING:
    from autoscaler.scaling_file import PoolScaling


class Policy(Protocol):
    """`now` is the database's clock in seconds; the answer depends on nothing but the arguments."""

    def __call__(self, state: PoolState, now: float, config: "PoolScaling") -> Decision:
        """How many replicas, and why."""


POLICIES: Mapping[str, Policy] = {
    "threshold": threshold.decide,
    "marginal": marginal.decide,
}


def require_policy(name: str) -> Policy:
    """The policy of that name. Raises ValueError listing the known ones."""
    policy = POLICIES.get(name)
    if policy is None:
        raise ValueError(f"unknown policy {name!r}; known are {', '.join(POLICIES)}")
    return policy
