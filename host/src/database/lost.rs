//! Finding out which runs are not this host's any more.
//!
//! Problem: a cancel by another program is a plain write to the row, without any notice, and the run may wait for a month
//! or compute for an hour before its next write is refused. So a host asks for all its runs at once whether their rows still
//! name its claims.

use super::claim::Claim;
use super::error::DatabaseError;
use super::ordinality::place;

/// Claims in one statement. The server needs some four microseconds for each (measured), so a page holds a connection for
/// 40 ms, and a host with 100,000 sleepers sends ten pages.
const PAGE: usize = 10_000;

// Without `OFFSET 0` the planner, which sees how many keys there are, prefers to read the whole table.
const LOST: &str = "
SELECT mine.nr FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS mine(id, token, nr)
  LEFT JOIN LATERAL (
      SELECT status, owner_xid FROM dbos.workflow_status WHERE workflow_uuid = mine.id OFFSET 0) s ON true
 WHERE s.status IS DISTINCT FROM 'PENDING' OR s.owner_xid IS DISTINCT FROM mine.token";

impl super::Database {
    /// Those of the claims that hold no more: the run was cancelled, resumed, taken over, or deleted, or it has ended. A
    /// claim that is over never holds again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lost_claims(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, DatabaseError> {
        let mut lost = Vec::new();
        for page in claims.chunks(PAGE) {
            let ids: Vec<&str> = page.iter().map(|claim| claim.run().as_str()).collect();
            let tokens: Vec<&str> = page.iter().map(Claim::token).collect();
            let client = self.client().await?;
            let statement = client.prepare_cached(LOST).await?;
            let numbers = client.query(&statement, &[&ids, &tokens]).await?;
            lost.extend(numbers.iter().map(|row| page[place(row, 0)].clone()));
        }
        Ok(lost)
    }
}
