"""Classes that travel in messages of this source."""


class Thing:
    """Equal by its value."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Thing) and other.value == self.value
