"""Rows of everything that a page of the board can show, for tests that look at all pages."""

from pathlib import Path

from reveille.testing import Database

DECK = Path(__file__).parents[2] / "examples" / "cardiosense_pitch.pdf"
LONG = "w" * 180  # a word that no column is made for
QUOTE = "We are raising €2.5M seed"

TASKS = """
INSERT INTO processing_queue (document_id, task_type, status, priority, current_step,
    progress_percentage, created_at, started_at, completed_at, processing_options,
    processing_metadata)
SELECT $1::bigint, type, status, 1 + n % 3, CASE status WHEN 'processing' THEN 'slide-3' END,
    CASE status WHEN 'processing' THEN 40 ELSE 0 END,
    reveille_now() - interval '9 min',
    CASE WHEN status <> 'queued' THEN reveille_now() - interval '8 min' END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled')
        THEN reveille_now() - interval '7 min' END,
    '{"template_id": "pitch"}', '{"model": "rules-stub", "model_calls": 11}'
FROM (VALUES (1, 'visual_analysis', 'completed'), (2, 'slide_feedback', 'processing'),
    (3, 'funding_amount_extraction', 'completed'), (4, 'deck_date_extraction', 'failed'),
    (5, 'template_analysis', 'retry'), (6, 'startup_name_extraction', 'queued'),
    (7, 'specialized_clinical', 'cancelled')) AS t (n, type, status)
RETURNING id, task_type
"""
ERRORS = """
UPDATE processing_queue SET last_error = 'no JSON: ' || $1, failure_reason = 'bad_answer'
WHERE status IN ('failed', 'retry')
"""
CONTAINERS = """
INSERT INTO containers (name, pool, slot, provider, state, reason, gpu, price_usd_per_hour,
    intended_at, creating_at, booting_at, gpu_at, image_at, registered_at, ready_at, ended_at,
    last_error, waited_for_task_id)
SELECT name, 'visual', slot, 'verda', state, 'task 1 has waited for 3 s', 'H100', 2.29,
    t, t + interval '1 s', t + interval '3 s', t + interval '20 s', t + interval '50 s',
    t + interval '60 s', CASE WHEN state <> 'failed' THEN t + interval '90 s' END,
    CASE WHEN state <> 'ready' THEN t + interval '100 s' END,
    CASE state WHEN 'failed' THEN 'no capacity in any region: ' || $1 END, 1
FROM (VALUES ('visual-0', 0, 'ready'), ('visual-1', 1, 'failed'), ('visual-2', 2, 'stopped'))
    AS c (name, slot, state), LATERAL (SELECT reveille_now() - interval '10 min' AS t) AS at
"""
SERVERS = """
INSERT INTO processing_servers (id, server_type, pool, has_presence, status, container_id,
    last_heartbeat)
VALUES ('visual-0-1', 'visual_container', 'visual', true, 'active', 'visual-0', reveille_now()),
    ('old/' || $1, 'gpu', 'visual', false, 'lost', NULL, reveille_now() - interval '4 min')
"""
DECISIONS = """
INSERT INTO scaling_decisions (pool, epoch, policy, replicas_before, replicas_wanted, reason, inputs)
VALUES ('visual', 1, 'marginal', 0, 1, 'task 1 has waited for 3 s',
    '{"depth": 4, "oldest_seconds": 3.0, "paused": false, "spent_usd": 0.4}')
"""
SLIDE = """
INSERT INTO visual_analysis_results (task_id, document_id, slide_number, slide_filename, title,
    slide_type, description, key_points, has_hidden_text, confidence, model)
VALUES ($1, $2, $3, 'slide.png', $4::text, 'team', $4::text, $5, true, 0.6, 'rules-stub')
"""
FEEDBACK = """
INSERT INTO slide_feedback (task_id, document_id, slide_number, slide_filename, feedback_text,
    feedback_type, has_issues, model)
VALUES ($1, $2, 1, 'slide.png', $3, 'improvement', true, 'rules-stub')
"""
EXTRACTION = """
INSERT INTO extraction_results (task_id, document_id, kind, value, evidence_page, evidence_quote,
    evidence_verified, confidence, model)
VALUES ($1, $2, 'funding_amount', $3, 11, $4, true, 0.9, 'rules-stub')
"""
TEMPLATE = """
INSERT INTO template_analysis_results (task_id, document_id, template_id, template_name,
    overall_score, chapters, model)
VALUES ($1, $2, 'pitch', $3, 6, $4, 'rules-stub')
"""
ATTEMPT = """
INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, ended_at, outcome,
    reason, error)
VALUES ($1, 1, 1, 'visual-0-1', reveille_now() - interval '8 min',
    reveille_now() - interval '7 min', 'failed', 'bad_answer', $2)
"""
STEP = """
INSERT INTO processing_progress (processing_queue_id, step_name, step_status, progress_percentage,
    message)
VALUES ($1, 'slide-3', 'completed', 40, $2)
"""
CHILD = """
INSERT INTO processing_queue (document_id, task_type, depends_on)
SELECT document_id, 'company_offering_extraction', ARRAY[id] FROM processing_queue WHERE id = $1
"""


async def furnish(database: Database, text: str = LONG) -> tuple[int, dict[str, int]]:
    """Fill a database. The document, and its tasks by type; `text` stands where backends, decks,
    models and providers write.
    """
    document_id = await database.fetchval(
        "INSERT INTO documents (filename, media_type, sha256, size_bytes, content, company_id) "
        "VALUES ($1::text, 'application/pdf', encode(sha256($2::bytea), 'hex'), octet_length($2::bytea), $2, $3) "
        "RETURNING id",
        f"{text}.pdf",
        DECK.read_bytes(),
        text[:200],
    )
    rows = await database.fetch(TASKS, document_id)
    await database.execute(ERRORS, text)
    tasks = {row["task_type"]: row["id"] for row in rows}
    await _results(database, document_id, tasks, text)
    await _history(database, tasks, text)
    await database.execute(CONTAINERS, text)
    await database.execute(SERVERS, text)
    await database.execute(DECISIONS)
    return document_id, tasks


async def _results(database: Database, document_id: int, tasks: dict[str, int], text: str) -> None:
    visual = tasks["visual_analysis"]
    for number in (1, 2):
        await database.execute(SLIDE, visual, document_id, number, text, [text])
    await database.execute(FEEDBACK, tasks["slide_feedback"], document_id, text)
    funding = tasks["funding_amount_extraction"]
    await database.execute(EXTRACTION, funding, document_id, text, QUOTE)
    question = {"question": text, "answer": text, "score": 5, "evidence_quote": text}
    chapters = [{"name": text, "score": 6, "questions": [question]}]
    await database.execute(TEMPLATE, tasks["template_analysis"], document_id, text, chapters)


async def _history(database: Database, tasks: dict[str, int], text: str) -> None:
    await database.execute(ATTEMPT, tasks["deck_date_extraction"], text)
    await database.execute(STEP, tasks["slide_feedback"], text)
    await database.execute(CHILD, tasks["startup_name_extraction"])
