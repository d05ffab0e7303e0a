-- One row per offset range (core/warehouse/ledger.py).
{{ ledger }};
