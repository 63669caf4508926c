"""Amounts and dates as decks write them, and the facts that are made of a model's answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reveille.task_types.answers import Citation
from reveille.task_types.dates import parse_date
from reveille.task_types.deck_date_extraction import EXTRACTION as DECK_DATE
from reveille.task_types.deck_date_extraction import DeckDate
from reveille.task_types.funding_amount_extraction import EXTRACTION as FUNDING
from reveille.task_types.funding_amount_extraction import FundingAmount
from reveille.task_types.healthcare_classification import EXTRACTION as HEALTHCARE
from reveille.task_types.healthcare_classification import HealthcareClassification
from reveille.task_types.money import Money, parse_money
from reveille.task_types.startup_name_extraction import EXTRACTION as NAME
from reveille.task_types.startup_name_extraction import StartupName
from reveille.task_types.visual_analysis import Metric, SlideAnalysis, SlideType


@pytest.mark.parametrize(
    ("text", "amount", "amount_max", "currency"),
    [
        ("€1.5M", 1_500_000, None, "EUR"),
        ("1.5 M€", 1_500_000, None, "EUR"),
        ("EUR2.5m", 2_500_000, None, "EUR"),
        ("2,5 Mio. €", 2_500_000, None, "EUR"),
        ("We raise $2.5 million in Seed", 2_500_000, None, "USD"),
        ("$500k", 500_000, None, "USD"),
        ("US$ 4M", 4_000_000, None, "USD"),
        ("CHF 1'500'000", 1_500_000, None, "CHF"),
        ("€ 500 000", 500_000, None, "EUR"),
        ("1,500,000 EUR", 1_500_000, None, "EUR"),
        ("1.500.000 €", 1_500_000, None, "EUR"),
        ("€1.500", 1_500, None, "EUR"),
        ("€0.750M", 750_000, None, "EUR"),
        ("$12.5", 12.5, None, "USD"),
        ("10,000,000.50 USD", 10_000_000.5, None, "USD"),
        ("$1.2bn", 1_200_000_000, None, "USD"),
        ("€2.5 - 3.5M", 2_500_000, 3_500_000, "EUR"),
        ("USD 2–3 million", 2_000_000, 3_000_000, "USD"),
        ("$2M-$3M", 2_000_000, 3_000_000, "USD"),
        ("Q1 2026 €2M", 2_000_000, None, "EUR"),
        ("24 months of $3M", 3_000_000, None, "USD"),
        ("raising 5 million", 5_000_000, None, None),
    ],
)
def test_money_is_read_as_written(
    text: str, amount: float, amount_max: float | None, currency: str | None
) -> None:
    """Scales, ranges, groupings and either side's currency sign give the amount in whole units."""
    assert parse_money(text) == Money(amount, amount_max, currency)


@pytest.mark.parametrize("text", ["", "3 mice", "2026", "99.14 % coverage", "M€", "v1.2"])
def test_money_is_none_when_no_amount_is_written(text: str) -> None:
    """A bare number is no amount of money."""
    assert parse_money(text) is None


@pytest.mark.parametrize(
    ("text", "iso", "precision"),
    [
        ("March 2026", "2026-03", "month"),
        ("Pitch deck – Mar. 2026", "2026-03", "month"),
        ("March '26", "2026-03", "month"),
        ("12. März 2026", "2026-03-12", "day"),
        ("March 14, 2026", "2026-03-14", "day"),
        ("14.03.2026", "2026-03-14", "day"),
        ("03/14/2026", "2026-03-14", "day"),
        ("2026-03-14", "2026-03-14", "day"),
        ("03/04/2026", "2026", "year"),
        ("03/2026", "2026-03", "month"),
        ("Q1 2026", "2026-Q1", "quarter"),
        ("© 2026", "2026", "year"),
    ],
)
def test_date_keeps_the_precision_that_was_written(text: str, iso: str, precision: str) -> None:
    """No day and no month is invented; a date that reads two ways keeps its year."""
    found = parse_date(text)
    assert found is not None
    assert (found.iso, found.precision) == (iso, precision)


@pytest.mark.parametrize("text", ["", "soon", "31.02.2026", "€2026", "12345", "2026,5"])
def test_date_is_none_when_there_is_none(text: str) -> None:
    """Amounts, long numbers and impossible days are no dates."""
    assert parse_date(text) is None


@given(st.text(max_size=80))
def test_parsers_never_raise(text: str) -> None:
    """Whatever a model copies out of a deck, reading it gives a value or None."""
    parse_money(text)
    parse_date(text)


def funding(**given: object) -> FundingAmount:
    fields = {
        "as_written": None,
        "amount": None,
        "currency": None,
        "funding_round": None,
        "citation": None,
        "confidence": 0.9,
    }
    return FundingAmount.model_validate({**fields, **given})


def test_funding_amount_is_computed_from_the_decks_words_not_from_the_models_arithmetic() -> None:
    """A model that misplaces a decimal point does not change the amount."""
    fact = FUNDING.fact(funding(as_written="1.5 M€", amount=15_000_000, currency="USD"))
    assert fact.normalized["amount"] == 1_500_000
    assert fact.unit == fact.normalized["currency"] == "EUR"
    assert fact.must_show == "1.5 M€"


def test_funding_amount_falls_back_to_the_model_when_the_words_are_no_number() -> None:
    """An amount in words is better than none."""
    fact = FUNDING.fact(funding(as_written="two million euros", amount=2e6, currency="eur"))
    assert fact.normalized["amount"] == 2_000_000
    assert fact.unit == "EUR"


@pytest.mark.parametrize(
    ("extraction", "answer"),
    [
        (FUNDING, funding()),
        (NAME, StartupName(name=" – ", citation=None, confidence=1.0)),
        (DECK_DATE, DeckDate(as_written=None, citation=None, confidence=1.0)),
        (
            HEALTHCARE,
            HealthcareClassification(category=None, citation=None, confidence=1.0),
        ),
    ],
)
def test_unknown_fact_has_no_value_and_no_confidence(extraction: object, answer: object) -> None:
    """`The deck does not say` is an answer, and nobody is confident of it."""
    fact = extraction.fact(answer)  # type: ignore[attr-defined]
    assert fact.value is None
    assert fact.confidence == 0.0


def test_deck_date_that_no_rule_reads_is_kept_as_written() -> None:
    """A date in an unforeseen form is shown, though it cannot be compared."""
    fact = DECK_DATE.fact(DeckDate(as_written="Spring issue", citation=None, confidence=0.5))
    assert (fact.value, fact.normalized, fact.unit) == ("Spring issue", None, None)


def test_healthcare_fact_tells_yes_or_no_and_which() -> None:
    """The classification is a boolean and a category, so that both can be queried."""
    cited = Citation(page=1, quote="for hospitals")
    given = HealthcareClassification.model_validate(
        {"category": "diagnostics", "citation": cited, "confidence": 0.8}
    )
    assert HEALTHCARE.fact(given).normalized == {"is_healthcare": True, "category": "diagnostics"}


def test_answer_of_a_model_is_plain_text() -> None:
    """What a terminal obeys, Postgres refuses or a screen shows in another order is left out, in lists too."""
    dirty, plain = "a\x00b\x1b[2J\u202ec\ud800\td\nש\u200f", "ab[2Jc?\td\nש\u200f"

    answer = SlideAnalysis(
        title=dirty,
        slide_type=SlideType.OTHER,
        description=dirty,
        key_points=[dirty],
        metrics=[Metric(label=dirty, value=dirty)],
        visual_elements=[],
        transcript="",
        confidence=0.5,
    )

    said = (answer.title, answer.description, answer.key_points[0], answer.metrics[0].value)
    assert set(said) == {plain}
