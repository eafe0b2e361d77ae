"""The actors of the benchmark, run by Director and by Thespian alike."""
