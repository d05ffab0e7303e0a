-- One database; a schema per layer.
CREATE DATABASE IF NOT EXISTS {{ database }} COMMENT = 'MadHatter: real-time data';
CREATE SCHEMA IF NOT EXISTS {{ database }}.RAW COMMENT = 'Messages as they landed, one table per contract';
CREATE SCHEMA IF NOT EXISTS {{ database }}.OPS COMMENT = 'Ledger of slices, quality results';
CREATE SCHEMA IF NOT EXISTS {{ database }}.CORE COMMENT = 'One row per event: typed, without duplicates';
CREATE SCHEMA IF NOT EXISTS {{ database }}.FRAUD COMMENT = 'Alerts and cases';
CREATE SCHEMA IF NOT EXISTS {{ database }}.MARTS COMMENT = 'What dashboards read';
