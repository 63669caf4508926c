"""Bearer tokens and what each may do, for every service that answers under `/api`: the gateway, and the
workers with their direct calls.

`token=read+submit,token2=operate`. In place of a token its digest may stand (`sha256:<64 hex
digits>=submit`): whoever reads that learns no token. So workers elsewhere are given digests only.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Literal, get_args

from reveille.errors import ConfigurationError

Scope = Literal["read", "submit", "work", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_DIGEST_PREFIX = "sha256:"


class Tokens:
    """All that are configured; false when there is none, and everything is open."""

    def __init__(self, scopes_by_digest: Mapping[bytes, frozenset[Scope]]) -> None:
        self._scopes = dict(scopes_by_digest)

    def __bool__(self) -> bool:
        return bool(self._scopes)

    def scopes(self, token: str) -> frozenset[Scope] | None:
        """What a token may do, None for an unknown one; takes as long for either."""
        digest, found = digest_of(token), None
        for known, scopes in self._scopes.items():
            if hmac.compare_digest(known, digest):
                found = scopes
        return found

    def digested(self) -> str:
        """The same tokens as a setting that does not give them away."""
        return ",".join(
            f"{_DIGEST_PREFIX}{digest.hex()}={'+'.join(sorted(scopes))}"
            for digest, scopes in self._scopes.items()
        )


def parse_tokens(text: str) -> Tokens:
    """The setting REVEILLE_API_TOKENS. Raises ConfigurationError, without the tokens."""
    known: dict[str, Scope] = {scope: scope for scope in SCOPES}
    tokens: dict[bytes, frozenset[Scope]] = {}
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        token, equals, names = entry.rpartition("=")
        wanted = names.split("+")
        digest = _digest_in(token)
        if not (token and equals and digest and all(name in known for name in wanted)):
            raise ConfigurationError(
                f"REVEILLE_API_TOKENS: entry {number} is not token=scope+scope nor "
                f"sha256:<64 hex digits>=scope+scope; scopes are {', '.join(SCOPES)}"
            )
        tokens[digest] = frozenset(known[name] for name in wanted)
    return Tokens(tokens)


def bearer_of(authorization: str) -> str | None:
    """The token of an Authorization header, if it has one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def digest_of(token: str) -> bytes:
    """By which a token is known here."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _digest_in(token: str) -> bytes | None:
    if not token.startswith(_DIGEST_PREFIX):
        return digest_of(token)
    digest = _DIGEST.fullmatch(token)
    return bytes.fromhex(digest[1]) if digest else None
