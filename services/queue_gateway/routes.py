"""The table of contents: every route of the API, in the order of the docs page."""

from typing import Any

from queue_gateway import (
    containers,
    costs,
    documents,
    external,
    health,
    pipelines,
    pools,
    queue_depth,
    report,
    servers,
    stream,
    tasks,
)
from queue_gateway.route import Route

ROUTES: tuple[Route[Any, Any], ...] = (
    *documents.ROUTES,
    *pipelines.ROUTES,
    *tasks.ROUTES,
    *stream.ROUTES,
    *queue_depth.ROUTES,
    *servers.ROUTES,
    *containers.ROUTES,
    *pools.ROUTES,
    *costs.ROUTES,
    *report.ROUTES,
    *external.ROUTES,
    *health.ROUTES,
)
