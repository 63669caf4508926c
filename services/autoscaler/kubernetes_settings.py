"""Settings of the kubernetes provider; part of the autoscaler's settings, so they are printed there.

In a pod of the cluster none of them is needed: the service account that the cluster mounts says
where the API server is, whom to trust and which namespace it is.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from autoscaler.placeholder import only_pool
from reveille.errors import ConfigurationError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LABEL = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*")
_NAMESPACE = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where the API server is and who asks. `token_file` is read anew for each call: the kubelet
    renews it. `ca_file` None: the system's authorities.
    """

    url: str
    namespace: str
    ca_file: Path | None
    token_file: Path | None
    token: SecretStr


class KubernetesSettings(BaseSettings):
    """How the API server is reached, and what a worker's pod is made from. `{pool}` in the
    template's name is the pool's.
    """

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    kubernetes_url: str = Field("", description="of the API server; unset: the pod's own cluster")
    kubernetes_namespace: str = Field(
        "", pattern=_NAMESPACE, description="of the workers; unset: the pod's own"
    )
    kubernetes_token: SecretStr = Field(SecretStr(""), description="in place of a token file")
    kubernetes_token_file: Path | None = Field(
        None, description="read anew for each call; unset: the pod's service account"
    )
    kubernetes_ca_file: Path | None = Field(
        None, description="PEM; unset: the service account's, elsewhere the system's"
    )
    kubernetes_template: str = Field(
        "reveille-{pool}-worker",
        description="name of the PodTemplate that a pool's pods are made from",
    )
    kubernetes_gpu_label: str = Field(
        "nvidia.com/gpu.product", description="label of nodes that an offer's gpu is the value of"
    )
    kubernetes_region_label: str = Field(
        "topology.kubernetes.io/region", description="likewise, of an offer's region"
    )
    kubernetes_spot_label: str = Field(
        "", description="label=value of spot nodes; unset: there are none"
    )
    kubernetes_installation: str = Field(
        "",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$",
        description="marks our Deployments; unset: made from the database's address",
    )
    kubernetes_answer_seconds_max: PositiveFloat = Field(15.0, description="of one API call")
    kubernetes_stop_seconds_max: PositiveFloat = Field(
        180.0, description="how long a pod may take to end; longer than its grace period"
    )

    @field_validator("kubernetes_url")
    @classmethod
    def _kubernetes_token_on_the_way(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        private = parts.scheme == "https" or parts.hostname in _LOOPBACK
        if parts.scheme not in {"http", "https"} or not parts.hostname or not private:
            raise ValueError(f"{url!r} is no https:// address")
        return url.rstrip("/")

    @field_validator("kubernetes_template")
    @classmethod
    def _template_of_pool(cls, name: str) -> str:
        return only_pool(name)

    @field_validator("kubernetes_gpu_label", "kubernetes_region_label")
    @classmethod
    def _node_label(cls, label: str) -> str:
        if _LABEL.fullmatch(label) is None:
            raise ValueError(f"{label!r} is no name of a label")
        return label

    @field_validator("kubernetes_spot_label")
    @classmethod
    def _spot_is_pair(cls, pair: str) -> str:
        label, _, value = pair.partition("=")
        if pair and (_LABEL.fullmatch(label) is None or not value):
            raise ValueError(f"{pair!r} is no label=value")
        return pair

    def cluster(self, *, service_account: Path = SERVICE_ACCOUNT) -> Cluster:
        """The API server and the credentials for it. Raises ConfigurationError when neither
        settings nor a service account say so.
        """
        inside = service_account if (service_account / "token").exists() else None
        token_file = self.kubernetes_token_file
        if token_file is None and not self.kubernetes_token.get_secret_value() and inside:
            token_file = inside / "token"
        given = {
            "REVEILLE_KUBERNETES_URL": self.kubernetes_url or _own_url(),
            "REVEILLE_KUBERNETES_NAMESPACE": self.kubernetes_namespace or _own_namespace(inside),
            "REVEILLE_KUBERNETES_TOKEN_FILE": token_file
            or self.kubernetes_token.get_secret_value(),
        }
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise ConfigurationError(
                f"the provider kubernetes needs {', '.join(missing)} outside of a cluster"
            )
        own_authority = inside / "ca.crt" if inside and not self.kubernetes_url else None
        return Cluster(
            url=str(given["REVEILLE_KUBERNETES_URL"]),
            namespace=str(given["REVEILLE_KUBERNETES_NAMESPACE"]),
            ca_file=self.kubernetes_ca_file or own_authority,
            token_file=token_file,
            token=self.kubernetes_token,
        )

    def node_labels(self, *, gpu: str | None, region: str | None) -> dict[str, Any]:
        """Of the nodes that an offer may run on, spot aside."""
        wanted = {self.kubernetes_gpu_label: gpu, self.kubernetes_region_label: region}
        return {label: value for label, value in wanted.items() if value is not None}


def _own_url() -> str:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://{f'[{host}]' if ':' in host else host}:{port}" if host else ""


def _own_namespace(service_account: Path | None) -> str:
    if service_account is None:
        return ""
    try:
        return (service_account / "namespace").read_text().strip()
    except OSError:
        return ""
