"""What a PDF holds besides slides: scripts, attached files, links. Nothing of it is used."""

from typing import Any

import pymupdf

OBJECTS_SCANNED_MAX = 20_000  # about 6 µs each
OBJECT_BYTES_SCANNED_MAX = 64 * 1024


def document_findings(document: Any) -> dict[str, Any]:
    """The findings that concern the whole document."""
    return {
        "repaired": bool(document.is_repaired),
        "javascript": _has_javascript(document),
        "embedded_files": document.embfile_count(),
    }


def page_findings(page: Any) -> dict[str, Any]:
    """The findings of one page."""
    attached = page.annots(types=[pymupdf.mupdf.PDF_ANNOT_FILE_ATTACHMENT])
    return {
        "links": sum(1 for link in page.get_links() if link["kind"] != pymupdf.LINK_GOTO),
        "attachments": sum(1 for _ in attached),
    }


def _has_javascript(document: Any) -> bool:
    for xref in range(1, min(document.xref_length(), OBJECTS_SCANNED_MAX)):
        source = document.xref_object(xref, compressed=True)[:OBJECT_BYTES_SCANNED_MAX]
        if "/JavaScript" in source or "/JS" in source:
            return True
    return False
