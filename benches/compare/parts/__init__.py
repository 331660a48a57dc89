"""The parts of ./scripts/bench: each has `measure(bench)`, and says in its first line what it measures."""
