-- A group has a bucket of its own, beside the client's and the backup, and under its own name.
ALTER TABLE export_deliveries DROP CONSTRAINT export_deliveries_destination_check;
ALTER TABLE handoffs DROP CONSTRAINT handoffs_destination_check;
ALTER TABLE export_balances DROP CONSTRAINT export_balances_destination_check;
