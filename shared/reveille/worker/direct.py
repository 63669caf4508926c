"""Direct, synchronous use of a worker's handlers over HTTP, under the same slot limit as the queue.

Nothing of a direct call reaches the queue's tables: the caller gets the result rows in the answer.
Once any token is configured a call needs one with the scope `submit`. A caller that hangs up ends
its call, and the model's work for it.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reveille import semconv
from reveille.context import StepStatus
from reveille.documents import Document
from reveille.health import Handler, problem
from reveille.model import ModelClient
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.task import Claim, TaskStatus
from reveille.task_types import task_type
from reveille.tokens import Scope, bearer_of
from reveille.tracing import request_span
from reveille.worker.attempt import Limit, attempt

if TYPE_CHECKING:
    from reveille.worker.service import WorkerService

EXTRACTIONS = {
    "company-offering": "company_offering_extraction",
    "startup-name": "startup_name_extraction",
    "healthcare-classification": "healthcare_classification",
    "funding-amount": "funding_amount_extraction",
    "deck-date": "deck_date_extraction",
}
SPECIALIZED = {
    "clinical": "specialized_clinical",
    "regulatory": "specialized_regulatory",
    "science": "specialized_science",
    "clinical_validation": "specialized_clinical",
    "regulatory_pathway": "specialized_regulatory",
    "scientific_hypothesis": "specialized_science",
}


SCOPE: Final[Scope] = "submit"
JSON = "application/json"
BODY_SECONDS_MAX = 30.0  # for 1 MB at most


class DirectRequest(BaseModel):
    """The body of a direct call: which document, and the task type's own options."""

    model_config = ConfigDict(extra="forbid", strict=True)

    document_id: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] = 0
    file_path: str | None = None
    company_id: Annotated[str, Field(max_length=255)] | None = None
    processing_options: dict[str, Any] = Field(default_factory=dict)
    analysis_type: str | None = Field(
        None, description="specialized-analysis only: clinical, regulatory or science"
    )


class DirectContext:
    """The context of a direct call: no rows of its own; it may read those of the document."""

    def __init__(self, claim: Claim, worker: "WorkerService", closing: AsyncExitStack) -> None:
        self._claim = claim
        self._worker = worker
        self._closing = closing
        self._document: Document | None = None

    @property
    def task(self) -> Claim:
        """See TaskContext."""
        return self._claim

    @property
    def model(self) -> ModelClient:
        """See TaskContext."""
        return self._worker.model

    @property
    def model_name(self) -> str:
        """See HandlerContext."""
        return self._worker.model_name(self._claim.task_type)

    async def document(self) -> Document:
        """See TaskContext."""
        if self._document is None:
            opened = await self._worker.documents.open(
                self._claim.document_id, self._claim.file_path
            )
            self._document = await self._closing.enter_async_context(opened)
        return self._document

    async def progress(
        self,
        percentage: float,
        step: str,
        message: str = "",
        *,
        status: StepStatus = "completed",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Nobody watches a direct call."""

    async def checkpoints(self) -> dict[str, Any]:
        """A direct call is never resumed."""
        return {}

    async def checkpoint(self, key: str, value: Any) -> None:
        """A direct call is never resumed."""

    async def visual_results(self) -> list[dict[str, Any]]:
        """See TaskContext."""
        if self._claim.document_id == 0:
            return []
        return await self._worker.store.visual_results(self._claim.document_id)

    async def template(self, template_id: str | None) -> dict[str, Any] | None:
        """See TaskContext."""
        return await self._worker.store.load_template(template_id)


def direct_routes(worker: "WorkerService") -> list[web.RouteDef]:
    """The routes of the task types that the worker has."""

    async def health(_: web.Request) -> web.Response:
        wrong = dict(await worker.ready())
        body = {
            "status": "unavailable" if wrong else "ok",
            "problems": wrong,
            "server_id": worker.worker_settings.server_id,
            "pool": worker.task_pool,
            "task_types": list(worker.task_types),
            "slots": worker.slots.count,
            "busy": worker.slots.busy,
            "models": list(worker.models),
        }
        return web.json_response(body, status=503 if wrong else 200)

    def fixed(name: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return await _traced(worker, request, name)

        return _admitted(worker, handle)

    async def extraction(request: web.Request) -> web.Response:
        asked = request.match_info["type"]
        name = EXTRACTIONS.get(asked.replace("_", "-"), asked)
        if name not in EXTRACTIONS.values():
            known = ", ".join(sorted(EXTRACTIONS))
            return problem(404, "Unknown extraction", f'"{asked}" is none of: {known}')
        return await _traced(worker, request, name)

    async def specialized(request: web.Request) -> web.Response:
        return await _traced(worker, request, None)

    routes = [web.get("/api/health", health)]
    if worker.task_pool != "text":
        routes += [
            web.post("/api/visual-analysis", fixed("visual_analysis")),
            web.post("/api/slide-feedback", fixed("slide_feedback")),
        ]
    if worker.task_pool != "visual":
        routes += [
            web.post("/api/extraction/{type}", _admitted(worker, extraction)),
            web.post("/api/template-analysis", fixed("template_analysis")),
            web.post("/api/specialized-analysis", _admitted(worker, specialized)),
        ]
    return routes


def _admitted(worker: "WorkerService", handle: Handler) -> Handler:
    async def admit(request: web.Request) -> web.StreamResponse:
        refusal = _refusal(worker, request)
        return refusal if refusal is not None else await handle(request)

    return admit


def _refusal(worker: "WorkerService", request: web.Request) -> web.Response | None:
    """Why this call is not let in; None: it is."""
    if request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        return problem(403, "Forbidden", "A page of another site may not ask for anything here.")
    if worker.tokens:
        scopes = worker.tokens.scopes(bearer_of(request.headers.get("Authorization", "")) or "")
        if scopes is None:
            answer = problem(
                401, "Unauthorized", "This needs a known token: Authorization: Bearer <token>."
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if SCOPE not in scopes:
            return problem(403, "Forbidden", f'This token lacks the scope "{SCOPE}".', scope=SCOPE)
    if worker.stopping.is_set() or worker.standing.draining:
        return problem(503, "Stopping", "This worker takes no more calls: ask another one.")
    if request.content_type != JSON and request.body_exists:
        return problem(415, "Unsupported Media Type", f"Send {JSON}, not {request.content_type}.")
    return None


async def _traced(worker: "WorkerService", request: web.Request, name: str | None) -> web.Response:
    """The call as one trace, in the caller's if it sent its context."""
    resource = request.match_info.route.resource
    with request_span(
        request.method,
        resource.canonical if resource else request.path,
        traceparent=request.headers.get("traceparent"),
        tracestate=request.headers.get("tracestate"),
    ) as span:
        answer = await _run(worker, request, name)
        span.set_attribute(semconv.HTTP_RESPONSE_STATUS_CODE, answer.status)
    return answer


async def _run(worker: "WorkerService", request: web.Request, name: str | None) -> web.Response:
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            text = await request.read()
        body = DirectRequest.model_validate_json(text or b"{}")
    except TimeoutError:
        return problem(
            408, "Request Timeout", f"The body did not arrive within {BODY_SECONDS_MAX:g} s."
        )
    except ValidationError as error:
        fields = json.loads(
            error.json(include_url=False, include_input=False, include_context=False)
        )
        return problem(422, "Bad request body", "See errors.", errors=fields)
    if name is None:
        name = SPECIALIZED.get(body.analysis_type or "")
        if name is None:
            known = "clinical, regulatory, science"
            return problem(
                422, "Unknown analysis_type", f"{body.analysis_type!r} is none of: {known}"
            )
    try:
        async with worker.slots.direct(wait_seconds=worker.worker_settings.direct_wait_seconds):
            outcome = await _outcome(worker, name, body)
    except TimeoutError:
        answer = problem(
            503, "Busy", f"All {worker.slots.count} slots are in use; try again later."
        )
        answer.headers["Retry-After"] = "30"
        return answer
    return _answer(name, outcome)


async def _outcome(worker: "WorkerService", name: str, body: DirectRequest) -> Outcome:
    spec = task_type(name)
    now = await worker.pool.fetchval("SELECT reveille_now()")
    claim = Claim(
        task_id=0,
        lease_token=0,
        document_id=body.document_id,
        task_type=name,
        priority=1,
        attempt=1,
        max_retries=0,
        timeout_seconds=spec.timeout_seconds,
        created_at=now,
        claimable_at=now,
        started_at=now,
        file_path=body.file_path,
        company_id=body.company_id,
        processing_options=body.processing_options,
    )
    async with AsyncExitStack() as closing:
        context = DirectContext(claim, worker, closing)
        return await attempt(spec, worker.handlers[name], context, Limit(spec.timeout_seconds))


def _answer(name: str, outcome: Outcome) -> web.Response:
    match outcome:
        case Done(results=results, metadata=metadata):
            rows: dict[str, list[Any]] = {}
            for row in results:
                rows.setdefault(row.table, []).append(dict(row.values))
            body = {
                "task_type": name,
                "status": TaskStatus.COMPLETED,
                "results": rows,
                "metadata": dict(metadata),
            }
            return web.json_response(body, dumps=lambda value: json.dumps(value, default=str))
        case Reject(reason=reason, error=error):
            return problem(422, "The task cannot succeed", error, reason=reason)
        case Retry(reason=reason, error=error):
            return problem(503, "The attempt failed", error, reason=reason)
        case Release(reason=reason):
            return problem(503, "Stopping", reason=reason)
