"""Must not take the standard module's place for the runtime."""

raise ImportError("the wrong json")
