"""What HTTP 200 hides: answers that are cut, prompts that were not read whole. Pure.

Behaviour as recorded from a real server: a run of equal tokens ends an answer with `done: false`,
`length` means cut JSON, and a prompt that is too long is silently cut to about half the window.
"""

from dataclasses import dataclass

from reveille import model_errors

# Decks have 3.5 to 5 characters per token; a prompt cut to half the window seems to have twice that.
CHARS_PER_TOKEN_MAX = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply of a model, without its HTTP. Counts are tokens."""

    text: str
    done: bool
    done_reason: str
    input_tokens: int
    output_tokens: int
    load_seconds: float
    write_seconds: float = 0.0  # what the server took for the output, without loading and reading


def check(reply: Reply, *, model: str, prompt_chars: int, num_ctx: int) -> None:
    """Raises TaskRetry for an answer that is not whole, TaskRejected for a prompt not read whole."""
    read, written = reply.input_tokens, reply.output_tokens
    if not reply.done:
        raise model_errors.incomplete(model, detail="the server stopped it: done is false")
    if reply.done_reason == "length":
        raise model_errors.incomplete(model, detail=f"cut after {written} tokens")
    if read + written > num_ctx:
        raise model_errors.incomplete(
            model, detail=f"{read} + {written} tokens overran the context of {num_ctx}"
        )
    if was_cut(prompt_chars, read, num_ctx):
        raise model_errors.text_too_long(
            model, f"{prompt_chars} characters were sent, {read} tokens of {num_ctx} were read"
        )


def was_cut(prompt_chars: int, tokens_read: int, num_ctx: int) -> bool:
    """Whether a server too old to know `truncate: false` cut the prompt.

    All three must hold, so that whole but odd text (rows of dashes) is not taken for cut.
    """
    could_overflow = prompt_chars > num_ctx * 2
    about_half_a_window = tokens_read < num_ctx * 0.6
    return (
        could_overflow and about_half_a_window and prompt_chars > tokens_read * CHARS_PER_TOKEN_MAX
    )
