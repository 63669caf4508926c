"""A container's log as the engine sends it: frames of a byte for the stream, three zeros, four
bytes of length, then text.
"""

HEADER_BYTES = 8
WORDS_MAX = 300


def last_words(logged: bytes) -> str:
    """The last line that says something: with luck, why it ended."""
    text = b"".join(_frames(logged)).decode("utf-8", "replace")
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "")[:WORDS_MAX]


def _frames(logged: bytes) -> list[bytes]:
    if logged[:1] not in {b"\0", b"\1", b"\2"} or logged[1:4] != b"\0\0\0":
        return [logged]  # of a container with a terminal: no frames
    frames, at = [], 0
    while at + HEADER_BYTES <= len(logged):
        length = int.from_bytes(logged[at + 4 : at + HEADER_BYTES], "big")
        frames.append(logged[at + HEADER_BYTES : at + HEADER_BYTES + length])
        at += HEADER_BYTES + length
    return frames
