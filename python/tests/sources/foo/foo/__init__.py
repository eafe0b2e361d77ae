"""A source with actors for the tests."""
