//! Giving attempts back at a graceful shutdown: an operator's restart is not the run's fault.

use super::claim::Claim;
use super::error::DatabaseError;

/// Attempts that are given back by one statement. A host that stops has some seconds for all of them, and what is given
/// back by then stays so.
const PAGE: usize = 1000;

// Rows are looked for by their key alone and compared afterwards: a condition on the status would let the planner use an index
// of what is PENDING, which it takes for small when it looked at a quiet moment, and which has every sleeper.
const GIVE_BACK: &str = "
WITH locked AS MATERIALIZED (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
     WHERE s.workflow_uuid = ANY ($1) ORDER BY s.workflow_uuid FOR NO KEY UPDATE SKIP LOCKED
), mine AS (
    SELECT l.workflow_uuid FROM locked l
      JOIN unnest($1::text[], $2::text[]) AS m(id, token) ON l.workflow_uuid = m.id AND l.owner_xid = m.token
     WHERE l.status = 'PENDING'
)
UPDATE dbos.workflow_status s SET recovery_attempts = greatest(s.recovery_attempts - 1, 0)
  FROM mine WHERE s.workflow_uuid = mine.workflow_uuid";

impl super::Database {
    /// Takes one attempt off each of these runs, where this host still owns it. One whose row somebody else has locked keeps
    /// it: this is a courtesy, for which nobody waits.
    ///
    /// # Errors
    /// When the database does not answer. Then the attempts stay counted, as after a crash.
    pub async fn give_back_attempts(&self, claims: &[Claim]) -> Result<(), DatabaseError> {
        let mut pairs: Vec<(&str, &str)> = claims.iter().map(|c| (c.run().as_str(), c.token())).collect();
        // In key order, like everyone who locks several rows.
        pairs.sort_unstable();
        let client = self.client().await?;
        for page in pairs.chunks(PAGE) {
            let (runs, tokens): (Vec<&str>, Vec<&str>) = page.iter().copied().unzip();
            client.execute(GIVE_BACK, &[&runs, &tokens]).await?;
        }
        Ok(())
    }
}
