"""Whether bytes are an image that a runner would load. It looks at the ends, not at the pixels."""

from collections.abc import Iterable

from model_stub.protocol import nested

NOT_AN_IMAGE = "Failed to load image or audio file"
NOT_MULTIMODAL = "Multimodal data provided, but model does not support multimodal requests."


def check(images: Iterable[bytes]) -> None:
    """Raises ProtocolError for the first one that is empty, cut off, or of no known format."""
    for data in images:
        if not _is_whole(data):
            raise nested(NOT_AN_IMAGE)


def _is_whole(data: bytes) -> bool:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data.endswith(b"IEND\xaeB`\x82")
    if data.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in data[-64:]
    if data.startswith((b"GIF87a", b"GIF89a")):
        return data.endswith(b";")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return data.startswith(b"BM") and len(data) >= int.from_bytes(data[2:6], "little")
