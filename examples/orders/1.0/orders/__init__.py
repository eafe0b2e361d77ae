"""An order desk, version 1.0."""

VERSION = "1.0"
