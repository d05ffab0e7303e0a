"""Landing files: their rows, names, bytes and manifest."""
