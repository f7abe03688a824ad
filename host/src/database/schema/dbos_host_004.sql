-- What a guest's login role may do in this schema: call the one function that ends its transaction.
--
-- It replaces the function of before, which wrote the step's record and no more. Now it can also write the start of the run,
-- and its outcome, so that a workflow of one transaction is one commit.
--
-- A guest's SQL and all this must be one commit, so it is written on the guest's own connection, whose role has no rights
-- in `dbos` or `dbos_host`. This function has them (SECURITY DEFINER). Two things that no guest sees keep a guest from
-- using it by itself: the owner's token for a run that exists, and the executor's incarnation for one that does not. Its
-- search_path is pinned, so nothing that the guest defined can stand in for a table.

DROP FUNCTION dbos_host.record_transaction(text, text, integer, text, text, bigint, bigint, text, bytea);

CREATE FUNCTION dbos_host.end_transaction(
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
        ELSE
            PERFORM FROM dbos_host.executor WHERE executor_id = p_executor AND incarnation = p_incarnation;
        END IF;
        IF NOT FOUND OR p_owner IS NULL OR NOT starts_with(p_owner, p_incarnation || ':') THEN
            RAISE EXCEPTION 'this host is another one by now' USING ERRCODE = 'DH001';
        END IF;
        INSERT INTO dbos.workflow_status
            (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
             owner_xid, creator_xid, serialization, application_name, created_at, updated_at, completed_at, attributes)
          VALUES (p_workflow_uuid, coalesce(p_status, 'PENDING'), p_workflow, p_executor, p_version, '', 1, 0,
                  CASE WHEN p_status IS NULL THEN p_owner END, p_owner, 'portable_json', p_application_name,
                  p_created_at, v_now, CASE WHEN p_status IS NOT NULL THEN v_now END,
                  CASE WHEN p_trace IS NOT NULL THEN
                    jsonb_build_object('dbos.otelContext', jsonb_build_object('traceparent', p_trace)) END)
          ON CONFLICT (workflow_uuid) DO NOTHING;
        -- It must raise: the COMMIT behind it is on its way already, and only an aborted transaction makes it a rollback.
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is a run under this id' USING ERRCODE = 'DH003';
        END IF;
        INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES (p_workflow_uuid, p_inputs)
          ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs;
        -- What a deleted run of the same id has left behind.
        DELETE FROM dbos_host.attempt WHERE workflow_uuid = p_workflow_uuid;
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
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, started_at_epoch_ms, completed_at_epoch_ms,
         serialization, application_name)
      VALUES (p_workflow_uuid, p_function_id, p_function_name, p_output, p_started_at, p_completed_at,
              'portable_json', p_application_name)
      ON CONFLICT DO NOTHING;
    -- The step has a record: a commit whose answer was lost did land. The first record wins, this attempt is undone.
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the step is recorded already' USING ERRCODE = 'DH002';
    END IF;
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      VALUES (p_workflow_uuid, p_function_id, p_digest)
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest;
    IF p_workflow IS NOT NULL AND p_status IS NOT NULL THEN
        INSERT INTO dbos.workflow_output (workflow_uuid, output, error) VALUES (p_workflow_uuid, p_result, p_error)
          ON CONFLICT (workflow_uuid) DO UPDATE SET output = EXCLUDED.output, error = EXCLUDED.error;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION dbos_host.end_transaction(text, text, text, integer, text, text, bigint, bigint, bytea, text, text, text, text, text, bigint, text, text, text, text)
    FROM PUBLIC;
