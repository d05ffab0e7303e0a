-- per contract: its landing table
{{ create_table }};
