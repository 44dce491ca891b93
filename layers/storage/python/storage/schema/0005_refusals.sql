-- A beacon that is handed in again after its answer was lost leaves its refusals once.
ALTER TABLE rejected_events
    ADD COLUMN refusal_id uuid NOT NULL DEFAULT gen_random_uuid()
               CONSTRAINT rejected_events_refusal_id_key UNIQUE;
