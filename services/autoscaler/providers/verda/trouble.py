"""What the API refused, as an error with its status, and what that means for other offers."""

import json
import re
from typing import Any

from autoscaler.provider import ProviderError, Trouble

WORDS_MAX = 300

_ACCOUNT_CODES = frozenset({"insufficient_funds", "unauthorized_request", "forbidden_action"})
_ACCOUNT_STATUSES = frozenset({401, 402, 403, 429})
_NO_CAPACITY = re.compile(
    r"capacity|no (gpu|resource)s? available|not available|out of stock", re.IGNORECASE
)
_TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)

_ADVICE = {
    "insufficient_funds": "the account is out of funds; add some at Verda",
    "unauthorized_request": "check REVEILLE_VERDA_CLIENT_ID and REVEILLE_VERDA_CLIENT_SECRET",
}


class VerdaError(ProviderError):
    """The API answered with an error; `status` is HTTP's, `code` its own word or empty."""

    def __init__(
        self, message: str, *, status: int, code: str = "", trouble: Trouble = "other"
    ) -> None:
        super().__init__(message, trouble=trouble)
        self.status = status
        self.code = code


class VerdaSilence(ProviderError):
    """No answer that could be read: whether it was done is not known."""


def error_of(status: int, text: str) -> VerdaError:
    """From an answer whose status is an error; gateways before the API answer in HTML."""
    code, said = _said(text)
    said = said or f"HTTP {status}"
    if code in _ADVICE:
        said = f"{said} ({_ADVICE[code]})"
    elif status == 429:
        said = f"too many requests: {said}"
    return VerdaError(
        f"Verda: {said}", status=status, code=code, trouble=_trouble(status, code, said)
    )


def _said(text: str) -> tuple[str, str]:
    try:
        body: Any = json.loads(text)
    except ValueError:
        title = _TITLE.search(text)
        return "", (title[1] if title else text).strip()[:WORDS_MAX]
    if not isinstance(body, dict):
        return "", ""
    message = body.get("message") or body.get("code") or ""
    return str(body.get("code") or ""), str(message)[:WORDS_MAX]


def _trouble(status: int, code: str, said: str) -> Trouble:
    if code in _ACCOUNT_CODES or status in _ACCOUNT_STATUSES:
        return "account"
    return "capacity" if _NO_CAPACITY.search(said) else "other"
