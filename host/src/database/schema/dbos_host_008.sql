-- An index of the messages that nobody has taken, in the order in which they are taken.
--
-- DBOS's own has neither the time nor whether a message was taken. So whoever looks for the oldest in a mailbox reads and sorts
-- all of it, in the commit of the journal that all runs share; and whoever asks whether there is one for any of those who wait
-- reads everything that they were ever sent. Measured on PostgreSQL 15, warm, on two processors that others used as well:
--
--                                                          without        with
--     taking one of 100,000 unread messages               72-150 ms     3-4 ms
--     looking for 10,000 who have taken 100 each       620-1,050 ms   30-43 ms
--     WAL for a message that is sent                      535 bytes  697 bytes
--
-- Taking one costs no more than before: its row moves to another page as a rule, and this index has no entry for it then.
--
-- The name is this host's, so that nobody takes the index for DBOS's; SDKs neither know it nor need it. A table that another
-- role owns, because an SDK has made it, is left as it is; the host says so. While the index is made nobody can send, for a
-- second or two with a million messages.
DO $$
BEGIN
    IF pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'dbos.notifications'::regclass), 'USAGE') THEN
        CREATE INDEX IF NOT EXISTS dbos_host_unread
            ON dbos.notifications (destination_uuid, topic, created_at_epoch_ms, message_uuid) WHERE NOT consumed;
    END IF;
END
$$;

-- As before, but for what a deleted run of the same id has left behind: its records and their digests go too when a run
-- begins. Other programs delete runs without knowing of the digests, and while this host writes a record. A run that found them
-- would take them for its own.

CREATE OR REPLACE FUNCTION dbos_host.end_transaction(
    p_workflow_uuid text,
    p_owner text,
    p_application_name text,
    -- The step's record.
    p_function_id integer,
    p_function_name text,
    p_output text,
    p_started_at bigint,
    p_completed_at bigint,
    p_digest bytea,
    -- The start, if the run is not there yet: the workflow's name is not null.
    p_workflow text,
    p_executor text,
    p_incarnation text,
    p_version text,
    p_inputs text,
    p_created_at bigint,
    p_trace text,
    -- The outcome, if the run has started and ended here: the status is not null. A run that was there before gets its
    -- outcome from the journal. Neighbours in the index of runs, which is read here, would be in each other's way.
    p_status text,
    p_result text,
    p_error text
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A guest's session keeps its plans. One that was made for a table of a few rows would read the table from end to end.
SET enable_seqscan = off
AS $$
DECLARE
    v_now CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000;
    v_owner text;
    v_status text;
BEGIN
    IF p_workflow IS NOT NULL THEN
        -- A host whose lease lapsed is another incarnation since. A run that goes on after this commit would be one that
        -- nobody looks for, so the executor's row is locked: who becomes it next waits for the start, and finds the run at
        -- its first look. A run that ends with this commit needs nobody, and must not make a thousand transactions queue
        -- for one row.
        IF p_status IS NULL THEN
            PERFORM FROM dbos_host.executor
              WHERE executor_id = p_executor AND incarnation = p_incarnation
              FOR SHARE;
        END IF;
        INSERT INTO dbos.workflow_status
            (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
             owner_xid, creator_xid, serialization, application_name, created_at, updated_at, completed_at, attributes)
          SELECT p_workflow_uuid, coalesce(p_status, 'PENDING'), p_workflow, p_executor, p_version, '', 1, 0,
                 CASE WHEN p_status IS NULL THEN p_owner END, p_owner, 'portable_json', p_application_name,
                 p_created_at, v_now, CASE WHEN p_status IS NOT NULL THEN v_now END,
                 CASE WHEN p_trace IS NOT NULL THEN
                   jsonb_build_object('dbos.otelContext', jsonb_build_object('traceparent', p_trace)) END
            FROM dbos_host.executor
           WHERE executor_id = p_executor AND incarnation = p_incarnation AND starts_with(p_owner, p_incarnation || ':');
        IF NOT FOUND THEN
            RAISE EXCEPTION 'this host is another one by now' USING ERRCODE = 'DH001';
        END IF;
        INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES (p_workflow_uuid, p_inputs);
        -- What a deleted run of the same id has left behind. A run that ends here is not replayed, and no attempt of it is
        -- counted any more.
        IF p_status IS NULL THEN
            DELETE FROM dbos_host.attempt WHERE workflow_uuid = p_workflow_uuid;
            DELETE FROM dbos.operation_outputs WHERE workflow_uuid = p_workflow_uuid;
            DELETE FROM dbos_host.operation_digest WHERE workflow_uuid = p_workflow_uuid;
        END IF;
    ELSE
        -- The row is looked for by its key alone and compared afterwards: a condition on the status would let the planner
        -- use the index of what is PENDING, which has every sleeper.
        --
        -- The lock, not the comparison alone, keeps a zombie out: under REPEATABLE READ and SERIALIZABLE an unlocked read
        -- sees the old owner for as long as the transaction lasts, and would commit after another host took the run.
        SELECT owner_xid, status INTO v_owner, v_status FROM dbos.workflow_status
          WHERE workflow_uuid = p_workflow_uuid
          FOR NO KEY UPDATE;
        IF v_owner IS DISTINCT FROM p_owner OR v_status IS DISTINCT FROM 'PENDING' OR p_owner IS NULL THEN
            RAISE EXCEPTION 'this host does not own the workflow' USING ERRCODE = 'DH001';
        END IF;
    END IF;
    -- The step has a record: a commit whose answer was lost did land. The first record wins, this attempt is undone.
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, started_at_epoch_ms, completed_at_epoch_ms,
         serialization, application_name)
      VALUES (p_workflow_uuid, p_function_id, p_function_name, p_output, p_started_at, p_completed_at,
              'portable_json', p_application_name);
    -- What a deleted run of the same id has left behind is replaced. Beside a start it is in the way instead, here and in the
    -- other tables, which is as rare as it is dear to look for: the journal then writes the start, and replaces it.
    IF p_workflow IS NULL THEN
        INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
          VALUES (p_workflow_uuid, p_function_id, p_digest)
          ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest;
    ELSE
        INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
          VALUES (p_workflow_uuid, p_function_id, p_digest);
        IF p_status IS NOT NULL THEN
            INSERT INTO dbos.workflow_output (workflow_uuid, output, error) VALUES (p_workflow_uuid, p_result, p_error);
        END IF;
    END IF;
END
$$;
