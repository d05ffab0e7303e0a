"""SQL of the pages: pure functions that return statements with their bindings."""
