"""Every attribute key and fixed value that Reveille puts on spans, metrics and logs, in one file.

OpenTelemetry's messaging and GenAI conventions are still in development and rename keys, so the
keys are written out here (messaging v1.44, GenAI v0.1) instead of being imported from a private
package: a rename is an edit of this file and a line in the CHANGELOG.
"""

from typing import Final

# The one instrumentation scope of the house: get_tracer(SCOPE), get_meter(SCOPE).
SCOPE: Final = "reveille"

# --- resource: who speaks ---------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"

# --- general ----------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CONTAINER_ID: Final = "container.id"
CONTAINER_NAME: Final = "container.name"
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"

# --- messaging: a task type is a destination, a task is a message ------------------------------
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_SYSTEM_REVEILLE: Final = "reveille"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_MESSAGE_CONVERSATION_ID: Final = "messaging.message.conversation_id"
MESSAGING_MESSAGE_BODY_SIZE: Final = "messaging.message.body.size"
MESSAGING_CONSUMER_GROUP_NAME: Final = "messaging.consumer.group.name"
MESSAGING_CLIENT_ID: Final = "messaging.client.id"
MESSAGING_BATCH_MESSAGE_COUNT: Final = "messaging.batch.message_count"

# --- GenAI: one chat with a model --------------------------------------------------------------
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_OPERATION_CHAT: Final = "chat"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_PROVIDER_OLLAMA: Final = "ollama"  # a custom value: not on the conventions' list
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - input or output, no secret

# --- database ---------------------------------------------------------------------------------
DB_SYSTEM_NAME: Final = "db.system.name"
DB_SYSTEM_POSTGRESQL: Final = "postgresql"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_RESPONSE_RETURNED_ROWS: Final = "db.response.returned_rows"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"  # the SQLSTATE

# --- ours -------------------------------------------------------------------------------------
REVEILLE_TASK_ID: Final = "reveille.task.id"
REVEILLE_TASK_TYPE: Final = "reveille.task.type"
REVEILLE_TASK_PRIORITY: Final = "reveille.task.priority"
REVEILLE_TASK_STATUS: Final = "reveille.task.status"
REVEILLE_DOCUMENT_ID: Final = "reveille.document.id"
REVEILLE_ATTEMPT: Final = "reveille.attempt"  # counts from 1
REVEILLE_ATTEMPTS_MAX: Final = "reveille.attempts_max"
REVEILLE_LEASE_TOKEN: Final = "reveille.lease.token"  # noqa: S105 - a fence, no secret
REVEILLE_SERVER_ID: Final = "reveille.server.id"
REVEILLE_POOL: Final = "reveille.pool"
REVEILLE_OUTCOME: Final = "reveille.outcome"  # done | retry | reject | release | lost | …
REVEILLE_REASON: Final = "reveille.reason"
REVEILLE_WAIT_SECONDS: Final = "reveille.wait_seconds"
REVEILLE_BACKFILLED: Final = "reveille.backfilled"  # the span was written after the fact
REVEILLE_LINK_KIND: Final = "reveille.link.kind"  # creation | previous_attempt | parent_task | …
REVEILLE_STEP_STATUS: Final = "reveille.step.status"  # started | completed | failed
REVEILLE_PROGRESS_PERCENTAGE: Final = "reveille.progress.percentage"
REVEILLE_CONTAINER_PHASE: Final = "reveille.container.phase"
REVEILLE_PROVIDER: Final = "reveille.provider"
REVEILLE_DOCUMENT_SOURCE: Final = "reveille.document.source"  # table | root | https | s3
REVEILLE_DOCUMENT_BYTES: Final = "reveille.document.bytes"
REVEILLE_DOCUMENT_PAGES: Final = "reveille.document.pages"
REVEILLE_PAGE_NUMBER: Final = "reveille.page.number"
REVEILLE_PAGE_WIDTH: Final = "reveille.page.width"  # pixels
REVEILLE_PAGE_HEIGHT: Final = "reveille.page.height"  # pixels
REVEILLE_PAGE_BYTES: Final = "reveille.page.bytes"
REVEILLE_RENDER_SECONDS: Final = "reveille.render.seconds"  # inside the render process
REVEILLE_MODEL_DIGEST: Final = "reveille.model.digest"
REVEILLE_MODEL_LOAD_SECONDS: Final = "reveille.model.load_seconds"
REVEILLE_MODEL_REPAIRED: Final = "reveille.model.repaired"

# --- W3C trace context as Reveille stores it ---------------------------------------------------
# Our key in `tracestate`, and the value that says: the insert trigger drew these ids, and no
# process has emitted a span that bears them yet.
TRACESTATE_KEY: Final = "reveille"
TRACESTATE_MINTED: Final = "minted"

# Values of REVEILLE_LINK_KIND.
LINK_CREATION: Final = "creation"
LINK_PREVIOUS_ATTEMPT: Final = "previous_attempt"
LINK_PARENT_TASK: Final = "parent_task"
LINK_AFFECTED_TASK: Final = "affected_task"

# --- metric labels: short, because dashboards and alert rules spell them out -------------------
LABEL_POOL: Final = "pool"
LABEL_TASK_TYPE: Final = "task_type"
LABEL_PRIORITY: Final = "priority"
LABEL_OUTCOME: Final = "outcome"
LABEL_REASON: Final = "reason"
LABEL_STATUS: Final = "status"
LABEL_STATE: Final = "state"
LABEL_PHASE: Final = "phase"
LABEL_MODEL: Final = "model"
LABEL_DIRECTION: Final = "direction"  # input | output
LABEL_METHOD: Final = "method"
LABEL_ROUTE: Final = "route"
LABEL_GPU: Final = "gpu"
LABEL_TABLE: Final = "table"
LABEL_HOLDER: Final = "holder"
LABEL_PART: Final = "part"
