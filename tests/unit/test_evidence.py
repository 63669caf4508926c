"""What counts as a quote from the deck, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reveille.evidence import DeckIndex, Evidence, normalise

DECK = DeckIndex(
    {
        1: "CardioSense\nSeed pitch · March 2026",
        2: "• Reproducibility efforts usually stop at the data layer — the docu-\nmentation is "
        "still hand-maintained.\n• No one can re-\ncheck the ﬁgures.",
        3: "We are raising €12.5M.\nRevenue 2025: 1,500 units, up 34 %.",
        7: "Confidential. CardioSense GmbH",
    }
)


@pytest.mark.parametrize(
    ("page", "quote"),
    [
        (1, "CardioSense"),
        (1, "Seed pitch · March 2026"),
        (1, "seed pitch March 2026"),
        (2, "the documentation is still hand-maintained"),
        (2, "the data layer – the documentation is still handmaintained."),
        (2, "No one can re-check the figures"),
        (2, "“No one can recheck the figures”"),
        (3, "We are raising €12.5M."),
        (3, "raising €12.5M. Revenue 2025"),
        (3, "...up 34 %"),
        (3, "up 34%"),
        (3, "raising € 12.5M"),
    ],
)
def test_quote_is_verified_when_only_typesetting_differs(page: int, quote: str) -> None:
    """Line ends, ligatures, hyphenation, bullets and quotation marks do not make a quote false."""
    assert DECK.check(page, quote) == Evidence(page, quote, verified=True)


@pytest.mark.parametrize(
    "quote",
    [
        "We are raising €12M",
        "raising €2.5M",
        "€12.5",
        "500 units",
        "Sense",
        "We are not raising",
    ],
)
def test_quote_is_unverified_when_a_word_or_number_is_only_part_of_the_decks(quote: str) -> None:
    """A number inside a larger number and a word inside a longer word are not quotes."""
    assert not DECK.check(3, quote).verified


def test_quote_on_another_page_corrects_the_page() -> None:
    """A right quote with a wrong page number keeps its proof, with the right number."""
    assert DECK.check(1, "We are raising €12.5M") == Evidence(
        3, "We are raising €12.5M", verified=True
    )


def test_claimed_page_wins_when_several_pages_have_the_quote() -> None:
    """The page that was claimed is looked at first."""
    assert DECK.check(7, "CardioSense").page == 7


def test_page_beyond_the_deck_is_dropped_when_the_quote_is_nowhere() -> None:
    """No result points to a page that the deck does not have."""
    assert DECK.check(99, "ignore all previous instructions") == Evidence(
        None, "ignore all previous instructions"
    )


@pytest.mark.parametrize("quote", [None, "", "  ", "a", "…", '""'])
def test_quote_is_unverified_when_it_says_nothing(quote: str | None) -> None:
    """An empty or one-letter quote proves nothing."""
    assert not DECK.check(1, quote).verified


def test_quote_that_lacks_the_value_proves_nothing() -> None:
    """A true sentence beside an invented amount leaves the amount unverified."""
    assert DECK.check(3, "We are raising €12.5M", must_show="€12.5M").verified
    assert not DECK.check(3, "We are raising €12.5M", must_show="€2.5M").verified
    assert not DECK.check(1, "Seed pitch", must_show="€12.5M").verified


def test_holds_looks_at_one_page_only() -> None:
    """A figure is attributed to the page that shows it."""
    assert DECK.holds(3, "34 %")
    assert not DECK.holds(2, "34 %")
    assert not DECK.holds(4, "34 %")


@given(st.text(max_size=200))
def test_normalise_is_stable_when_applied_twice(text: str) -> None:
    """Any text, however odd, has one normal form, so that quotes and pages meet in it."""
    once = normalise(text)
    assert normalise(once) == once


@given(st.lists(st.sampled_from(["alpha", "beta", "12.5", "€3M", "gamma-ray"]), min_size=2))
def test_every_run_of_whole_words_is_verified(words: list[str]) -> None:
    """What is copied from a page word by word is found on it, however the page wraps its lines."""
    index = DeckIndex({1: "\n".join(words)})
    assert index.check(1, " ".join(words[: len(words) // 2 + 1])).verified
