"""What a DAG run does with a slice: claim it, record it, judge it."""
