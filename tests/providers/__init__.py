"""What the conformance suite needs of each provider: a world to run it in."""
