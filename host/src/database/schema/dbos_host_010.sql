-- What is to be undone of a run that fails or is cancelled (a saga): for each of its steps that has an undo, what that is called
-- with. The row is there before the step does anything, so that a step which was on its way when its run ended is undone too;
-- what it has come to, the run's records tell.
--
-- A run is known by its id and by when it was created: what a deleted run of the same id has left is no part of it.

CREATE TABLE dbos_host.undo (
    workflow_uuid text NOT NULL,
    function_id integer NOT NULL CHECK (function_id > 0),
    run_created_at bigint NOT NULL,
    -- The step, and the step that undoes it.
    step text NOT NULL CHECK (step <> ''),
    undo text NOT NULL CHECK (undo <> ''),
    -- Of the step, a JSON object.
    arguments text NOT NULL,
    PRIMARY KEY (workflow_uuid, function_id)
);

-- The runs with such rows of which it is not known yet whether they are to be undone: a host looks through these, and not
-- through everything that has ever been registered.
CREATE TABLE dbos_host.saga (
    workflow_uuid text PRIMARY KEY,
    run_created_at bigint NOT NULL
);

REVOKE ALL ON dbos_host.undo, dbos_host.saga FROM PUBLIC;
