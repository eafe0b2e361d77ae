"""An order desk, version 2.0."""

VERSION = "2.0"
