"""Routes of the pages' data, one module per page."""
