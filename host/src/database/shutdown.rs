//! Giving attempts back at a graceful shutdown: an operator's restart is not the run's fault.

use super::claim::Claim;
use super::error::DatabaseError;

/// Attempts that are given back by one statement. A host that stops has some seconds for all of them, and what is given
/// back by then stays so.
const PAGE: usize = 1000;

const GIVE_BACK: &str = "
WITH mine AS (
    SELECT s.workflow_uuid FROM dbos.workflow_status s
      JOIN unnest($1::text[], $2::text[]) AS m(id, token) ON s.workflow_uuid = m.id AND s.owner_xid = m.token
     WHERE s.status = 'PENDING' ORDER BY s.workflow_uuid FOR NO KEY UPDATE OF s SKIP LOCKED
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
