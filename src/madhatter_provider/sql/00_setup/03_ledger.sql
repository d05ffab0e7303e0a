-- One row per offset range (core/ledger.py).
{{ ledger }};
