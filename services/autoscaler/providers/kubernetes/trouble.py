"""What the API server refused, as an error with its status, and what that means for other offers."""

import json
import re
from typing import Any

from autoscaler.provider import ProviderError, Trouble

WORDS_MAX = 500

_QUOTA = re.compile(r"exceeded quota|forbidden: failed quota", re.IGNORECASE)


class KubernetesError(ProviderError):
    """The API server answered with an error; `status` is HTTP's, `reason` its own word or empty."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        trouble: Trouble = "other",
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message, trouble=trouble)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class KubernetesSilence(ProviderError):
    """No answer that could be read: whether it was done is not known."""


def error_of(
    status: int, text: str, namespace: str, *, retry_after_seconds: float = 0.0
) -> KubernetesError:
    """From an answer whose status is an error; proxies before the API server answer in HTML."""
    reason, said, missing_namespace = _said(text)
    said = said or f"HTTP {status}"
    trouble: Trouble = "other"
    if _QUOTA.search(said):
        trouble, advice = "account", "raise the namespace's ResourceQuota"
    elif status == 401:
        trouble, advice = "account", "the token is not good; see REVEILLE_KUBERNETES_TOKEN_FILE"
    elif status == 403:
        trouble, advice = "account", "its Role is in docker/kubernetes/autoscaler.yaml"
    elif missing_namespace:
        trouble, advice = "account", f"there is no namespace {namespace}; create it first"
    else:
        advice = ""
    words = f"Kubernetes: {said}" + (f" ({advice})" if advice else "")
    return KubernetesError(
        words,
        status=status,
        reason=reason,
        trouble=trouble,
        retry_after_seconds=retry_after_seconds,
    )


def _said(text: str) -> tuple[str, str, bool]:
    """Its reason, its message, and whether the namespace is what is missing."""
    try:
        body: Any = json.loads(text)
    except ValueError:
        return "", text.strip()[:WORDS_MAX], False
    if not isinstance(body, dict):
        return "", "", False
    details = body.get("details")
    kind = details.get("kind") if isinstance(details, dict) else None
    reason = str(body.get("reason") or "")
    missing = reason == "NotFound" and kind == "namespaces"
    return reason, str(body.get("message") or reason)[:WORDS_MAX], missing
