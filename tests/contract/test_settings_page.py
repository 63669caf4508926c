"""docs/settings.md says of every setting what it is for."""

from docs.settings_page import GROUPS, PAGE, own_fields, page, variable

from autoscaler.config import AutoscalerSettings
from heartbeat_monitor.config import MonitorSettings
from queue_gateway.config import GatewaySettings
from reveille.settings import DocumentSettings, WorkerSettings


def test_page_of_settings_is_what_the_code_reads() -> None:
    """A setting that is added, renamed or has another default is on the page: `make settings`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_setting_of_every_service_is_on_the_page_with_its_meaning() -> None:
    """A new group, or a field without a description, would be a setting that nobody finds."""
    listed = {name for _, kind in GROUPS for name in own_fields(kind)}
    services = (AutoscalerSettings, DocumentSettings, GatewaySettings, MonitorSettings)
    for kind in (*services, WorkerSettings):
        assert kind.model_fields.keys() <= listed, kind
    silent = [
        variable(name, field)
        for _, kind in GROUPS
        for name, field in own_fields(kind).items()
        if not field.description
    ]
    assert silent == []
