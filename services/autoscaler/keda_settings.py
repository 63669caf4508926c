"""Settings of the KEDA scaler and of the provider keda."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class KedaSettings(BaseSettings):
    """Where KEDA finds the scaler. Without certificates it speaks in clear text, as KEDA expects by
    default.
    """

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    keda_listen: str = Field(
        "", description="address:port for KEDA, such as 0.0.0.0:6000; unset: not served"
    )
    keda_tls_cert: Path | None = Field(None, description="PEM, of the server")
    keda_tls_key: Path | None = Field(None, description="PEM, of the server")
    keda_tls_client_ca: Path | None = Field(
        None, description="PEM; with it only clients of this authority are answered"
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Any:
        pair = (self.keda_tls_cert, self.keda_tls_key)
        if any(pair) and not all(pair):
            raise ValueError("keda_tls_cert and keda_tls_key belong together")
        if self.keda_tls_client_ca is not None and not all(pair):
            raise ValueError("keda_tls_client_ca needs keda_tls_cert and keda_tls_key")
        return self
