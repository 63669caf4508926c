"""What is wrong with a DSN, said without the DSN: it holds a password.

The driver's own complaints quote the part that it could not read, and a password with a "/" or "?"
in it that was not percent-encoded is exactly that part.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

from reveille.errors import ConfigurationError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

# The example has no password: it would be hidden from the reader as any other (logs.py).
_SHAPE = (
    "DATABASE_URL cannot be read; it must look like postgresql://reveille@db.example:5432/reveille "
    "(user, host, port, database), with a colon and the password after the user where there is one; "
    "in user and password / ? # @ : [ ] % are percent-encoded, such as %40 for @"
)


class CertificateRefused(ConnectionError):
    """The server showed a certificate that `sslmode` and `sslrootcert` do not let pass."""


def check_dsn(dsn: str) -> None:
    """Raises ConfigurationError for what no connection attempt could mend."""
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(_SHAPE)
    options = {name: values[-1] for name, values in parse_qs(dsn.partition("?")[2]).items()}
    if options.get("sslmode", "prefer") not in SSL_MODES:
        raise ConfigurationError(f"DATABASE_URL: sslmode must be one of {', '.join(SSL_MODES)}")
    for name in _SSL_FILES:
        if name in options and not Path(options[name]).is_file():
            raise ConfigurationError(f"DATABASE_URL: {name} names a file that is not there")


@contextmanager
def reading_dsn() -> Iterator[None]:
    """Around a connection attempt: the driver's complaints about the DSN become ConfigurationError,
    a certificate that does not pass CertificateRefused. (Python's own error for that is a
    ValueError too, as those about the DSN are.)
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(
            f"the certificate of the database's server was refused: {error.verify_message} "
            "(DATABASE_URL: sslrootcert names who may sign it, sslmode=verify-full its host)"
        ) from None
    except (
        ValueError,
        LookupError,
        OverflowError,
    ):  # asyncpg.ClientConfigurationError is a ValueError
        raise ConfigurationError(_SHAPE) from None
