"""`{pool}` in a provider's settings, where the pool's name goes."""


def only_pool(value: str) -> str:
    """The value as it is. Raises ValueError when it has other braces."""
    try:
        value.format(pool="visual")
    except (KeyError, IndexError, ValueError):
        raise ValueError(f"{value!r} may have no other braces than {{pool}}") from None
    return value
