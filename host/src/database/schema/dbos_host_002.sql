-- What a guest's login role may do in this schema: call the one function that ends its transaction.
--
-- A guest's SQL and the record of its step must be one commit, so the record is written on the guest's own connection,
-- whose role has no rights in `dbos` or `dbos_host`. This function has them (SECURITY DEFINER), and asks for the owner's
-- token, which the guest never sees. Its search_path is pinned, so nothing that the guest defined can stand in for a table.

CREATE FUNCTION dbos_host.record_transaction(
    p_workflow_uuid text,
    p_owner text,
    p_function_id integer,
    p_function_name text,
    p_output text,
    p_started_at bigint,
    p_completed_at bigint,
    p_application_name text,
    p_digest bytea
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_owner text;
    v_status text;
BEGIN
    -- The row is looked for by its key alone and compared afterwards: a condition on the status would let the planner use
    -- the index of what is PENDING, which has every sleeper.
    --
    -- The lock, not the comparison alone, keeps a zombie out: under REPEATABLE READ and SERIALIZABLE an unlocked read
    -- sees the old owner for as long as the transaction lasts, and would commit after another host took the run.
    SELECT owner_xid, status INTO v_owner, v_status FROM dbos.workflow_status
      WHERE workflow_uuid = p_workflow_uuid
      FOR NO KEY UPDATE;
    -- It must raise: the COMMIT behind it is on its way already, and only an aborted transaction makes it a rollback.
    IF v_owner IS DISTINCT FROM p_owner OR v_status IS DISTINCT FROM 'PENDING' OR p_owner IS NULL THEN
        RAISE EXCEPTION 'this host does not own the workflow' USING ERRCODE = 'DH001';
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
END
$$;

REVOKE ALL ON FUNCTION dbos_host.record_transaction(text, text, integer, text, text, bigint, bigint, text, bytea)
    FROM PUBLIC;
