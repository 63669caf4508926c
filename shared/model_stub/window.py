"""The context window: how many tokens a conversation takes, and what happens when it is too long.

The rules and the token arithmetic are those seen on a real server: with one character per token and
16 tokens per image the counts of the recording come out exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model_stub.protocol import Ask, Message, ProtocolError, nested

# What the server assumes an image takes while it drops old messages (not what it then takes).
IMAGE_TOKENS_ASSUMED = 768
BOS_TOKENS = 1
TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)


@dataclass(frozen=True, slots=True)
class Window:
    """The size of the context and how text is counted."""

    size: int
    chars_per_token: float
    image_tokens: int

    def text_tokens(self, text: str) -> int:
        """Tokens of a text, rounded up."""
        return math.ceil(len(text) / self.chars_per_token)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the model gets to read: the prompt's text and the number of tokens it was charged."""

    text: str
    prompt_tokens: int


def fit(ask: Ask, window: Window) -> Fitted:
    """Make the conversation fit as the server does. Raises ProtocolError where it refuses."""
    messages = _drop_old(ask.messages, window, raw=ask.raw) if ask.truncate else ask.messages
    images = sum(len(message.images) for message in messages)
    tokens = _text_tokens(messages, window, raw=ask.raw) + images * window.image_tokens
    text = "\n\n".join(m.content for m in messages if m.role in {"system", "user"})
    if tokens < window.size:
        return Fitted(text, tokens)
    if images or not ask.truncate:
        raise nested(
            f"request ({tokens} tokens) exceeds the available context size ({window.size} tokens), "
            "try increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=tokens,
            n_ctx=window.size,
        )
    if not ask.shift:
        raise ProtocolError(400, TOO_LONG)
    kept = window.size // 2 + 3  # 1027 of 2048 and 35 of 64 in the recording
    return Fitted(_cut_middle(text, int(kept * window.chars_per_token)), kept)


def rendered(messages: Sequence[Message], *, raw: bool) -> str:
    """The conversation in the template of the recorded models; unknown roles vanish in it."""
    if raw:
        return "".join(message.content for message in messages)
    marks = {"system": "", "user": "USER: ", "assistant": "ASSISTANT: "}
    turns = [f"{marks[m.role]}{m.content}\n" for m in messages if m.role in marks]
    return "".join(turns) + "ASSISTANT: "


def _text_tokens(messages: Sequence[Message], window: Window, *, raw: bool) -> int:
    return BOS_TOKENS + window.text_tokens(rendered(messages, raw=raw))


def _drop_old(messages: tuple[Message, ...], window: Window, *, raw: bool) -> tuple[Message, ...]:
    """Whole messages go, oldest first; system messages and the last one stay."""
    kept = list(messages)
    while True:
        images = sum(len(message.images) for message in kept)
        tokens = _text_tokens(kept, window, raw=raw) + images * IMAGE_TOKENS_ASSUMED
        droppable = [m for m in kept[:-1] if m.role != "system"]
        if tokens <= window.size or not droppable:
            return tuple(kept)
        kept.remove(droppable[0])


def _cut_middle(text: str, chars: int) -> str:
    head = chars // 2
    return text if len(text) <= chars else text[:head] + text[len(text) - (chars - head) :]
