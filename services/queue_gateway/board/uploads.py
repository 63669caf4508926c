"""The board's upload: a form with a file, or files dropped on the page, which the script sends as
that form would.
"""

from aiohttp import web

from queue_gateway.board.door import PROOF_FIELD, Handler, Said, back, check_proof
from queue_gateway.desk import Desk
from queue_gateway.documents import take_in
from queue_gateway.pages import page
from queue_gateway.refusal import Refusal
from queue_gateway.upload import UploadOptions


def add_uploads(application: web.Application, desk: Desk) -> None:
    """Add the form's address."""
    application.router.add_post("/documents", _uploading(desk))


def _uploading(desk: Desk) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        proven = False

        def before_file(fields: dict[str, str]) -> None:
            nonlocal proven
            check_proof(request, fields)
            fields.pop(PROOF_FIELD, None)
            proven = True

        try:
            desk.access.admit(request, "submit", form=True)
            answer = await take_in(desk, request, UploadOptions(pipeline=True), before_file)
        except Refusal as refusal:
            if refusal.status == 401:
                raise web.HTTPSeeOther("/login") from None
            if proven:
                return back(request, "/documents", Said(sentence=refusal.detail, good=False))
            return page("refusal.html", refusal.status, refusal=refusal)
        known = "" if answer.created else " It was known already."
        said = f"{answer.filename} is in: {len(answer.task_ids)} tasks.{known}"
        return back(request, f"/documents/{answer.id}", Said(sentence=said, good=True))

    return handle
