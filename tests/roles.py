"""Every service of a test run connects under its own database role.

So each test that drives a service also proves that the role of db/migrations/0008_roles.sql has
what the service needs, and a statement that needs more fails with "permission denied".
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from reveille import database

ROLES = {
    "reveille queue-gateway": "reveille_gateway",
    "reveille autoscaler": "reveille_autoscaler",
    "reveille heartbeat-monitor": "reveille_monitor",
    "reveille visual-worker": "reveille_worker",
    "reveille text-worker": "reveille_worker",
    "reveille combined-worker": "reveille_worker",
    "reveille heartbeat": "reveille_worker",
}


def connect_under_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on connections with a service's application_name SET ROLE as they begin."""
    plain = database._options

    def with_role(application_name: str, *limits: Any) -> dict[str, Any]:
        options = plain(application_name, *limits)
        role = ROLES.get(application_name.removesuffix(" listener"))
        if role is not None:
            options["server_settings"]["role"] = role
        return options

    monkeypatch.setattr(database, "_options", with_role)


LOGINS = {
    "backend": "reveille_backend",
    "queue_gateway": "reveille_gateway",
    "autoscaler": "reveille_autoscaler",
    "heartbeat_monitor": "reveille_monitor",
    "visual_worker": "reveille_worker",
    "text_worker": "reveille_worker",
}


async def make_logins(connection: Any) -> None:
    """A login for each service and for the backend, with its role's rights and no others."""
    for login, role in LOGINS.items():
        await connection.execute(f'CREATE ROLE "{login}" LOGIN IN ROLE {role}')


def dsn_as(dsn: str, login: str) -> str:
    """The address of the same database for one of LOGINS; the server must trust it."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}"))
