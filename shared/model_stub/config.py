"""What can be turned on the stand-in: one class for the environment, the command line and tests."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_stub.faults import Fault

# The names of the recorded transcript first, then sizes that people run on one GPU.
DEFAULT_MODELS = (
    "gemma3, llava+vision, noise:1b, gemma3:4b+vision, gemma3:12b+vision, gemma3:27b+vision, "
    "qwen2.5vl:7b+vision, llama3.1:8b, qwen2.5:7b, mistral:7b, phi4:14b"
)


class StubSettings(BaseSettings):
    """Knobs with Ollama's own defaults where it has one. Environment: REVEILLE_STUB_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="REVEILLE_STUB_", extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(11434, ge=0, le=65535, description="0 takes any free port")
    models: str = Field(
        DEFAULT_MODELS, description="comma-separated names; +vision after one that takes images"
    )
    model_context_length: int = Field(
        131_072, ge=64, description="tokens that each model was trained for"
    )
    default_context_length: int = Field(
        4096, ge=64, description="num_ctx of requests that name none (OLLAMA_CONTEXT_LENGTH)"
    )
    chars_per_token: float = Field(4.0, gt=0, description="how text is counted as tokens")
    image_tokens: int = Field(256, ge=1, description="what one image takes of the window")
    device: Literal["gpu", "cpu"] = Field("gpu", description="whether /api/ps claims VRAM")

    load_seconds: float = Field(0.0, ge=0, description="how long loading a model takes")
    service_seconds: float = Field(0.0, ge=0, description="how long one answer takes")
    tokens_per_second: float = Field(
        0.0, ge=0, description="pace of generation on top of service_seconds; 0 is at once"
    )
    num_parallel: int = Field(1, ge=1, description="answers at a time per model")
    max_queue: int = Field(512, ge=0, description="requests waiting for a model to load")
    max_loaded_models: int = Field(3, ge=1, description="models in memory at a time")
    keep_alive_seconds: float = Field(300.0, description="idle time before a model is unloaded")

    faults: list[Fault] = Field(default_factory=list, description="JSON list, see faults.py")
    requests_kept_max: int = Field(200, ge=1, description="requests remembered for inspection")


class CommandLine(StubSettings):
    """Stand-in Ollama server: speaks the protocol, answers by rules, has no model."""

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_STUB_",
        cli_parse_args=True,
        cli_kebab_case=True,
        cli_prog_name="python -m model_stub",
        extra="forbid",
    )

    def settings(self) -> StubSettings:
        """The same values without the command line attached."""
        return StubSettings(**self.model_dump())
