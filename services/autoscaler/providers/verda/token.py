"""The access token: had with the client's id and secret, renewed a minute before it runs out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import SecretStr

from autoscaler.provider import ProviderError
from autoscaler.providers.verda.trouble import VerdaError

EARLY_SECONDS = 60.0
LIFE_SECONDS = 600.0  # of a token that does not say

Grant = Callable[[Mapping[str, str]], Awaitable[Any]]


class Token:
    """One for all calls. `grant` asks for one; `clock` is monotonic."""

    def __init__(
        self,
        client_id: SecretStr,
        client_secret: SecretStr,
        *,
        grant: Grant,
        clock: Callable[[], float],
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._grant = grant
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._access = ""
        self._refresh = ""
        self._until = float("-inf")

    async def value(self) -> str:
        """A token that is good for a minute at least. Raises ProviderError."""
        async with self._one_at_a_time:
            if self._clock() >= self._until:
                self._take(await self._ask())
            return self._access

    def refused(self, value: str) -> None:
        """The API does not take it any more, whatever was said of its life."""
        if value == self._access:
            self._until = float("-inf")

    async def _ask(self) -> Any:
        if self._refresh:
            refresh, self._refresh = self._refresh, ""
            try:
                return await self._grant({"grant_type": "refresh_token", "refresh_token": refresh})
            except VerdaError as error:
                if error.status not in {400, 401, 403}:
                    raise
        try:
            return await self._grant(
                {
                    "grant_type": "client_credentials",
                    "client_id": self._client_id.get_secret_value(),
                    "client_secret": self._client_secret.get_secret_value(),
                }
            )
        except VerdaError as error:
            if error.status not in {400, 401, 403}:
                raise
            raise ProviderError(
                f"Verda refuses REVEILLE_VERDA_CLIENT_ID and REVEILLE_VERDA_CLIENT_SECRET: {error}",
                trouble="account",
            ) from None

    def _take(self, answer: Any) -> None:
        try:
            self._access = str(answer["access_token"])
            life_seconds = float(answer.get("expires_in") or LIFE_SECONDS)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ProviderError("Verda's answer to the request for a token has none") from None
        self._refresh = str(answer.get("refresh_token") or "")
        self._until = self._clock() + max(0.0, life_seconds - EARLY_SECONDS)
