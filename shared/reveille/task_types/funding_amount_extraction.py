"""funding_amount_extraction: how much money the company asks for in this round."""

from typing import Annotated

from pydantic import Field

from reveille.task_types.answers import AnswerModel, Citation, Confidence
from reveille.task_types.extraction import Extraction, Fact
from reveille.task_types.money import Money, parse_money
from reveille.task_types.spec import TaskType

TASK_TYPE = TaskType(
    name="funding_amount_extraction",
    pool="text",
    model_setting="text",
    timeout_seconds=600,
    description="The amount of money sought in the current round, with currency and round",
)


class FundingAmount(AnswerModel):
    """The amount sought now: not money raised before, not revenue, not a market size."""

    as_written: str | None = Field(max_length=80, description="the amount as the deck writes it")
    amount: Annotated[float, Field(ge=0, le=1e12)] | None = Field(
        description="the amount as a number in whole currency units; the lower end of a range"
    )
    currency: str | None = Field(max_length=3, description="ISO 4217 code: EUR, USD, GBP, CHF, …")
    funding_round: str | None = Field(max_length=40, description="pre-seed, seed, Series A, …")
    citation: Citation | None
    confidence: Confidence


def _fact(answer: FundingAmount) -> Fact:
    """The amount is computed from the deck's words; the model's number is only the fallback."""
    if not answer.as_written:
        return Fact(value=None, citation=answer.citation)
    money = parse_money(answer.as_written) or _as_answered(answer)
    currency = (money and money.currency) or (answer.currency or "").upper() or None
    normalized = {
        "amount": money.amount if money else None,
        "amount_max": money.amount_max if money else None,
        "currency": currency,
        "round": answer.funding_round,
    }
    return Fact(
        value=answer.as_written.strip(),
        normalized=normalized,
        unit=currency,
        confidence=answer.confidence,
        citation=answer.citation,
        must_show=answer.as_written,
    )


def _as_answered(answer: FundingAmount) -> Money | None:
    if answer.amount is None:
        return None
    whole = int(answer.amount) if answer.amount.is_integer() else answer.amount
    return Money(whole, None, None)


EXTRACTION = Extraction(
    kind="funding_amount",
    answer=FundingAmount,
    instructions=(
        "Find how much money the company is raising now. Copy the amount exactly as the deck "
        "writes it, with its currency and scale (for example €1.5M). Money raised earlier, grants "
        "received, revenues, prices, valuations and market sizes are not the answer. "
        "Cite words that contain the amount."
    ),
    keywords=(
        "rais", "seek", "ask", "fund", "invest", "round", "seed", "series a", "use of",
        "€", "$", "£", "million",
    ),
    fact=_fact,
)  # fmt: skip
