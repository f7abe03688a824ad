-- What unfinished runs wait for, and since when, as their hosts say it: for people, and nothing depends on it. A row counts
-- while its run has this owner; others are left by hosts that are gone, until one that starts removes them.
--
-- Not logged: it is written while runs only wait, and a host writes again what a crash of the server has taken. It sees
-- that by a row of its own, whose `workflow_uuid` is empty and whose owner is its incarnation.
CREATE UNLOGGED TABLE dbos_host.waiting (
    workflow_uuid text NOT NULL,
    owner text NOT NULL,
    reason text NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (workflow_uuid, owner)
);
REVOKE ALL ON TABLE dbos_host.waiting FROM PUBLIC;
