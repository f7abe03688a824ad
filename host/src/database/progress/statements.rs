//! The texts of the statement that writes progress, and which of them is wanted when.
//!
//! What a statement does not do still costs time in each of thousands of commits a second. So outcomes and effects are parts
//! that are added where there are any, and the text for keys that may be there is another one.

use tokio_postgres::{Client, Error, Statement};

use super::effects::{EFFECTS, PARAMETERS};
use super::lone;

// Lock and comparison in the statement that writes. Under READ COMMITTED a waiting lock re-reads the row, so a claim
// that another host took in the meantime is seen, and nothing is written. Rows are locked in key order, so that two
// such statements for the same runs (one of them a zombie's) cannot deadlock.
//
// Rows are looked for by their key alone, and compared afterwards. A condition on the status would let the planner use
// an index of what is PENDING, which it takes for small when it looked at a quiet moment, and which has every sleeper.
//
// What was not written is told by its place in the parameters; what is not told, is written. In nearly every commit
// that is nothing, and nobody has to read, send and look up the names of runs.
const RECORDS: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[],
                         $9::int8[], $10::text[], $11::bytea[]) WITH ORDINALITY
      AS n (run, token, step, name, output, error, child, started_at, completed_at, app, digest, at)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY (<runs>) <which of them>
      ORDER BY s.workflow_uuid
      FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid, owner_xid FROM locked WHERE status = 'PENDING'
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
         completed_at_epoch_ms, serialization, application_name)
      SELECT n.run, n.step, n.name, n.output, n.error, n.child, n.started_at, n.completed_at,
             CASE WHEN n.output IS NOT NULL OR n.error IS NOT NULL THEN 'portable_json' END, n.app
        FROM new n JOIN fence ON fence.workflow_uuid = n.run AND fence.owner_xid = n.token
      <if the key is there>
      RETURNING workflow_uuid, function_id
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT n.run, n.step, n.digest FROM new n JOIN record r ON r.workflow_uuid = n.run AND r.function_id = n.step
       WHERE n.digest IS NOT NULL
      <if a digest is there>
), unwritten AS (
    SELECT n.run, n.at, EXISTS (SELECT FROM fence WHERE fence.workflow_uuid = n.run AND fence.owner_xid = n.token) AS owned
      FROM new n WHERE NOT EXISTS (SELECT FROM record r WHERE r.workflow_uuid = n.run AND r.function_id = n.step)
)";

// An outcome is written only for a row that is PENDING and still owned: a run that was cancelled or taken in the
// meantime keeps what is recorded. A finished run has no owner, so nothing written for it later passes the fence. The
// row has one serialization for input and outcome: that of the outcome counts from here on, also for a run whose input
// this host could not read. A run that was resumed has the output of its former end.
// `ending` is put together first: joined inside the UPDATE, each row of `final` was compared with each of `fence`.
const OUTCOMES: &str = ", final AS (
    SELECT * FROM unnest($12::text[], $13::text[], $14::text[], $15::text[], $16::text[]) WITH ORDINALITY
      AS f (run, token, status, output, error, at)
), ending AS MATERIALIZED (
    SELECT f.run, f.status FROM final f JOIN fence ON fence.workflow_uuid = f.run AND fence.owner_xid = f.token
     WHERE f.run NOT IN (SELECT run FROM unwritten)
), ended AS (
    UPDATE dbos.workflow_status s
       SET status = e.status, owner_xid = NULL, deduplication_id = NULL, serialization = 'portable_json',
           updated_at = (extract(epoch FROM now()) * 1000)::bigint,
           completed_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM ending e WHERE s.workflow_uuid = e.run
      RETURNING s.workflow_uuid
), output AS (
    INSERT INTO dbos.workflow_output (workflow_uuid, output, error)
      SELECT f.run, f.output, f.error FROM final f JOIN ended ON ended.workflow_uuid = f.run
      ON CONFLICT (workflow_uuid) DO UPDATE SET output = EXCLUDED.output, error = EXCLUDED.error
)
SELECT false, at, owned FROM unwritten
UNION ALL
SELECT true, f.at, EXISTS (SELECT FROM fence WHERE fence.workflow_uuid = f.run AND fence.owner_xid = f.token)
  FROM final f WHERE NOT EXISTS (SELECT FROM ended WHERE ended.workflow_uuid = f.run)";

const RECORDS_ALONE: &str = "SELECT false, at, owned FROM unwritten";

/// What is known of the keys of records before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum Keys {
    /// None of them should be there: whoever writes has read its run's records. One that is there all the same (a
    /// zombie's, or one that a deleted run has left) is an error of the statement, and nothing is written.
    New,
    /// Some may be. A record that is there already is left alone: the first one wins.
    MaybeThere,
}

impl Keys {
    /// The statement for these keys. To look for each key before it is written, and to mark the row until the last index
    /// has it, is a quarter of what a record costs the database (*measured*); so that is done only where there is a reason.
    fn apply(self, statement: &str) -> String {
        let (record, digest) = match self {
            Self::New => ("", ""),
            Self::MaybeThere => (
                "ON CONFLICT DO NOTHING",
                "ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest",
            ),
        };
        statement.replace("<if the key is there>", record).replace("<if a digest is there>", digest)
    }
}

/// The statements, prepared for a connection.
#[derive(Debug)]
pub(in crate::database) struct Statements {
    new: Prepared,
    maybe_there: Prepared,
    begun: Prepared,
    lone: Statement,
}

/// What this transaction has inserted.
const BEGUN_HERE: &str = "AND s.xmin = pg_current_xact_id()::xid";

/// Those for keys of which the same is known.
#[derive(Debug)]
pub(in crate::database) struct Prepared {
    texts: Texts,
    plain: Pair,
    /// Prepared at the first use: most hosts never have any.
    with_effects: Option<Pair>,
}

/// Records alone do without what outcomes need, which costs a third of the statement even where there is none.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) records: Statement,
    pub(super) with_outcomes: Statement,
}

/// The text of the statement for records, which the others are added to.
#[derive(Debug)]
struct Texts(String);

impl Texts {
    /// Prepares the statements with these effects. Their parameters stand behind the others.
    async fn prepare(&self, client: &Client, effects: &str) -> Result<Pair, Error> {
        let behind = |last: usize| {
            (1..=PARAMETERS)
                .fold(effects.to_owned(), |text, n| text.replace(&format!("<{n}>"), &format!("${}", last + n)))
        };
        let alone = format!("{}{} {RECORDS_ALONE}", self.0.replace("<runs>", "$1"), behind(11));
        let with_outcomes = format!("{}{}{OUTCOMES}", self.0.replace("<runs>", "$1 || $12"), behind(16));
        Ok(Pair { records: client.prepare(&alone).await?, with_outcomes: client.prepare(&with_outcomes).await? })
    }
}

impl Prepared {
    async fn new(client: &Client, keys: Keys, which: &str) -> Result<Self, Error> {
        let texts = Texts(keys.apply(RECORDS).replace("<which of them>", which));
        Ok(Self { plain: texts.prepare(client, "").await?, texts, with_effects: None })
    }

    pub(super) fn pair(&self, has_effects: bool) -> &Pair {
        if has_effects {
            self.with_effects.as_ref().expect("whoever hands in effects has them prepared first")
        } else {
            &self.plain
        }
    }
}

/// Prepares the statements for a connection.
pub(in crate::database) async fn prepare(client: &Client) -> Result<Statements, Error> {
    Ok(Statements {
        new: Prepared::new(client, Keys::New, "").await?,
        maybe_there: Prepared::new(client, Keys::MaybeThere, "").await?,
        begun: Prepared::new(client, Keys::New, BEGUN_HERE).await?,
        lone: lone::prepare(client).await?,
    })
}

impl Statements {
    /// Prepares what records with effects need, if it is not yet.
    pub(in crate::database) async fn prepare_effects(&mut self, client: &Client) -> Result<(), Error> {
        for prepared in [&mut self.new, &mut self.maybe_there, &mut self.begun] {
            if prepared.with_effects.is_none() {
                prepared.with_effects = Some(prepared.texts.prepare(client, EFFECTS).await?);
            }
        }
        Ok(())
    }

    pub(in crate::database) fn of(&self, keys: Keys) -> &Prepared {
        match keys {
            Keys::New => &self.new,
            Keys::MaybeThere => &self.maybe_there,
        }
    }

    /// For a record that has a commit for itself.
    pub(in crate::database) fn lone(&self) -> &Statement {
        &self.lone
    }

    /// For runs that the same transaction has begun, before. A run under one of their ids that was there is not looked at,
    /// and not waited for if somebody has locked it.
    pub(in crate::database) fn begun(&self) -> &Prepared {
        &self.begun
    }
}
