"""From file_path to a place: which forms there are, and what each limit says."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reveille import testing_pdfs
from reveille.documents import DocumentLimits, Documents
from reveille.documents.https import HttpsSource, is_public
from reveille.documents.spool import spool
from reveille.errors import ConfigurationError, TaskRejected


async def no_content(document_id: int) -> bytes | None:
    """A documents table without this document."""
    assert document_id == 42
    return None


def documents(root: Path | None = None, **limits: int) -> Documents:
    """Documents over a root and an empty table."""
    return Documents(root=root, limits=DocumentLimits(**limits), load_content=no_content)


async def refusal(source: Documents, file_path: str | None) -> TaskRejected:
    """The error that opening ends in."""
    with pytest.raises(TaskRejected) as caught:
        await source.open(42, file_path)
    return caught.value


async def test_path_opens_a_document(tmp_path: Path) -> None:
    """The whole way from a path to pages."""
    (tmp_path / "deck.pdf").write_bytes(testing_pdfs.deck("One", "Two"))
    async with await documents(tmp_path).open(42, " deck.pdf ") as document:
        assert document.page_count == 2


@pytest.mark.parametrize("file_path", ["", None, "  "])
async def test_empty_path_reads_the_documents_table(file_path: str | None) -> None:
    """Uploads through the gateway have no path."""

    async def content(document_id: int) -> bytes | None:
        return testing_pdfs.deck(f"Document {document_id}")

    source = Documents(root=None, limits=DocumentLimits(), load_content=content)
    async with await source.open(42, file_path) as document:
        assert (await document.page_texts())[0].text == "Document 42"


async def test_empty_path_without_content_is_missing() -> None:
    """A task that names no document at all says where it looked."""
    error = await refusal(documents(), "")

    assert error.reason == "document_missing"
    assert "documents" in error.error
    assert "42" in error.error


@pytest.mark.parametrize(
    "file_path",
    [
        "http://example.com/deck.pdf",
        "file:///etc/passwd",
        "ftp://example.com/deck.pdf",
        "gopher://example.com/",
        "https://example.com/deck.pdf",
        "s3://",
        "s3://bucket",
        "s3:///key",
        "deck\x00.pdf",
        "a" * 5000,
    ],
)
async def test_place_that_is_not_allowed_is_refused(tmp_path: Path, file_path: str) -> None:
    """Other schemes, unlisted hosts and malformed names are refused without being tried."""
    assert (await refusal(documents(tmp_path), file_path)).reason == "path_refused"


async def test_large_file_is_rejected_naming_the_limit(tmp_path: Path) -> None:
    """A file over bytes_max fails with the limit, its value and the size found."""
    (tmp_path / "deck.pdf").write_bytes(b"%PDF-" + bytes(2000))
    error = await refusal(documents(tmp_path, bytes_max=1000), "deck.pdf")

    assert error.reason == "over_limit"
    assert "bytes_max" in error.error
    assert "2005" in error.error
    assert "1000" in error.error


async def test_spooling_stops_at_the_limit() -> None:
    """What comes without a length is counted while it comes, and no more is asked for."""
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(100)

    with pytest.raises(TaskRejected, match="bytes_max"):
        await spool(endless(), DocumentLimits(bytes_max=1000))

    assert asked == 11


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse, not to bind
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("fec0::1", False),
        ("168.63.129.16", False),
    ],
)
def test_address_is_public_or_not(address: str, public: bool) -> None:
    """Loopback, private, link-local, shared and metadata addresses count as private, wrapped or not."""
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["https://example.com", "example.com/path", "a@b", ""])
def test_listed_host_that_is_no_host_is_a_configuration_error(host: str) -> None:
    """A wrong entry is found at the start, not at the first document."""
    with pytest.raises(ConfigurationError, match="REVEILLE_DOCUMENT_HOSTS"):
        HttpsSource(hosts=[host], allow_private=False, ssl_context=None)


@pytest.mark.parametrize("host", ["example.com", "example.com:8443", "EXAMPLE.com", "[::1]:443"])
def test_listed_host_may_have_a_port(host: str) -> None:
    """Names and addresses, with a port or without."""
    HttpsSource(hosts=[host], allow_private=False, ssl_context=None)


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/deck.pdf",
        "https://0x7f.0.0.1/deck.pdf",
        "https://017700000001/deck.pdf",
        "https://127.1/deck.pdf",
        "https://[::ffff:7f00:1]/deck.pdf",
        "https://[::127.0.0.1]/deck.pdf",
        "https://decks.example@127.0.0.1/deck.pdf",
        "https://decks.example:443@127.0.0.1/deck.pdf",
        "https://decks.example\\@127.0.0.1/deck.pdf",
        "https://decks.example.127.0.0.1.nip.example/deck.pdf",
        "https://decks.example:22/deck.pdf",
        "https://decks.example%2f@127.0.0.1/deck.pdf",
        "https://decks.example%00.evil.example/deck.pdf",
        "https://decks.example:99999/deck.pdf",
        "HTTP://decks.example/deck.pdf",
        "file://decks.example/etc/passwd",
        "jar:https://decks.example!/deck.pdf://",
    ],
)
async def test_spelling_of_a_host_that_is_not_the_listed_one_is_refused(url: str) -> None:
    """Numbers, user names, ports and escapes do not make another host look like the listed one."""
    source = Documents(
        root=None,
        limits=DocumentLimits(),
        load_content=no_content,
        https_hosts=["decks.example"],
    )

    assert (await refusal(source, url)).reason in {"path_refused", "document_unreadable"}


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "localhost"])
async def test_listed_name_that_the_resolver_takes_home_is_refused(host: str) -> None:
    """Even an operator's own entry does not lead to this machine, however it is spelled."""
    source = Documents(
        root=None, limits=DocumentLimits(), load_content=no_content, https_hosts=[host]
    )

    error = await refusal(source, f"https://{host}/deck.pdf")

    assert error.reason == "path_refused"
    assert any(why in error.error for why in ("not public", "not a public", "names no host"))


async def test_escaped_path_is_a_file_name_and_no_way_up(tmp_path: Path) -> None:
    """Percent-escapes are not decoded: `%2e%2e%2f` names a file that is not there."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "deck.pdf").write_bytes(testing_pdfs.deck("Secret"))
    for path in ("%2e%2e/deck.pdf", "%2e%2e%2fdeck.pdf", "..%00/deck.pdf", "..\\deck.pdf"):
        assert (await refusal(documents(root), path)).reason == "document_missing"
