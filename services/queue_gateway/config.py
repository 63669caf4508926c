"""What the gateway can be told by its environment, beyond what all services share."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from reveille.costs import ALWAYS_ON_USD_PER_MONTH
from reveille.settings import DocumentSettings, Settings


class GatewaySettings(Settings):
    """REVEILLE_* of the queue gateway."""

    beside = (DocumentSettings,)
    http_port: int = Field(8080, ge=0, le=65535, description="0: any free port")
    database_pool_max: PositiveInt = Field(10, description="connections besides that of LISTEN")
    document_bytes_max: PositiveInt = Field(100 * 1024 * 1024, description="largest upload")
    uploads_max: PositiveInt = Field(
        4, description="uploads and downloads at the same time: each holds a document in memory"
    )
    upload_seconds_max: PositiveFloat = Field(300.0, description="longest upload")
    streams_max: PositiveInt = Field(500, description="event streams and waiting requests")
    beat_seconds: PositiveFloat = Field(15.0, description="comment on an otherwise silent stream")
    reread_seconds: PositiveFloat = Field(5.0, description="backstop of live events")
    requests_per_second_max: NonNegativeFloat = Field(
        500.0, description="per token, or per address without one; 0: no limit"
    )
    requests_burst_max: PositiveInt = Field(1000, description="at once, after a silence")
    jaeger_url: str | None = Field(None, description="base URL of a trace viewer, for links")
    always_on_usd_per_month: PositiveFloat = Field(
        ALWAYS_ON_USD_PER_MONTH, description="the always-on server that costs are compared with"
    )
    budget_soft_usd: PositiveFloat | None = Field(None, description="the autoscaler's, to be shown")
    budget_hard_usd: PositiveFloat | None = Field(None, description="the autoscaler's, to be shown")
