"""How large a document may be. Every maximum of reading and rendering has its name here."""

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from reveille.errors import TaskRejected


class DocumentLimits(BaseModel):
    """The limits of one document; what exceeds them fails at once, naming the limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes_max: PositiveInt = 100 * 1024 * 1024
    pages_max: PositiveInt = 300
    page_points_max: PositiveInt = Field(14_400, description="longest side of a page, 1/72 inch")
    image_pixels: PositiveInt = Field(1024, description="longest side of a rendered page")
    pixels_max: PositiveInt = Field(4_194_304, description="width times height of a rendered page")
    text_chars_max: PositiveInt = Field(200_000, description="text of one page; the rest is cut")
    render_seconds_max: PositiveFloat = Field(30.0, description="opening, or one page")
    memory_bytes_max: PositiveInt = Field(1024**3, description="address space of the child")
    fetch_seconds_max: PositiveFloat = Field(120.0, description="fetching the whole document")


def over_limit(limit: str, *, maximum: float, actual: float | str, unit: str) -> TaskRejected:
    """The error for a document that exceeds `limit`."""
    error = f"the document exceeds {limit}: {actual} {unit}, and {maximum} are allowed"
    return TaskRejected("over_limit", error)
