"""Links of operators to the control room."""
