//! The bytes of components. A run is replayed by the very component that started it, years later, so its bytes are kept
//! where its records are.
//!
//! Problem: who removes a component that seems to be of no use must not take it from under somebody who is about to use it: a
//! deployment that has found its bytes there and does not send them again, or a host that does not follow a deployment
//! and goes on starting runs with an older component. So each of them says first that it uses the component, and says so
//! again every hour; what nobody has used for a week, what is not deployed and what no run needs goes. The mark is a row of
//! its own, and removing begins with it: one of two who come at once waits for the other, and sees what it did.

use super::error::DatabaseError;
use crate::workflow::ComponentDigest;

/// How long nobody must have used a component. Hosts say every hour that they use theirs; a week also covers one that was
/// cut off from the database over the holidays and comes back with what it had.
const UNUSED_DAYS: i32 = 7;

const LONG_UNUSED: &str = "
SELECT digest FROM dbos_host.component_use
 WHERE used_at < now() - make_interval(days => $1)
   AND digest NOT IN (SELECT DISTINCT ON (application_name) version_name FROM dbos.application_versions
                       ORDER BY application_name, version_timestamp DESC)
 ORDER BY digest";

// No index has the versions of runs, so this may read the whole table: once for each component that goes, in a reader's way of
// nobody. A run that comes into being behind this look has its component from a host that uses it, from a parent with
// the same one that has not ended, which was seen, or from whoever forks another, who says so. (A client may put any version into a queue; without its bytes it stays
// there, whenever that is.)
const HAS_RUNS: &str = "SELECT EXISTS (SELECT FROM dbos.workflow_status WHERE application_version = $1)";

// The mark first: whoever uses the component at this moment has changed the row, which is then looked at again and stays;
// or waits for this statement, finds no bytes, and stores them.
const REMOVE: &str = "
WITH mark AS (
    DELETE FROM dbos_host.component_use
     WHERE digest = $1 AND used_at < now() - make_interval(days => $2) RETURNING digest
)
DELETE FROM dbos_host.component c USING mark WHERE c.digest = mark.digest RETURNING c.digest";

/// A stored component.
#[derive(Debug, Clone)]
pub struct StoredComponent {
    /// Its identity.
    pub digest: ComponentDigest,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Whether the component `v.digest` has what the run `s` is a run of: its workflow, or the step that it consists of.
pub(super) const COMPONENT_HAS_RUN: &str = "EXISTS (
    SELECT FROM dbos_host.component c
     WHERE c.digest = v.digest
       AND c.manifest -> CASE WHEN s.name LIKE 'temp:%' THEN 'steps' ELSE 'workflows' END
           @> jsonb_build_array(jsonb_build_object('name', regexp_replace(s.name, '^temp:', ''))))";

impl super::Database {
    /// Stores a component. When it returns, runs of it can be recovered by any host on this database, and it is not removed
    /// for a week.
    ///
    /// # Errors
    /// When the database does not answer, or the file is larger than a row can be (1 GB).
    pub async fn store_component(
        &self,
        digest: &ComponentDigest,
        bytes: &[u8],
        manifest: &str,
    ) -> Result<(), DatabaseError> {
        // Before the look: what is found behind this is not removed.
        self.use_components(&[digest]).await?;
        let client = self.client().await?;
        // Asked first, so that a restart with a known component does not send its megabytes again.
        let known =
            client.query_opt("SELECT 1 FROM dbos_host.component WHERE digest = $1", &[&digest.as_str()]).await?;
        if known.is_none() {
            client
                .execute(
                    // Two hosts may bring the same component at once; the same digest means the same bytes.
                    "INSERT INTO dbos_host.component (digest, bytes, manifest) VALUES ($1, $2, $3::text::jsonb)
                     ON CONFLICT (digest) DO NOTHING",
                    &[&digest.as_str(), &bytes, &manifest],
                )
                .await?;
        }
        Ok(())
    }

    /// Says that components are in use now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn use_components(&self, digests: &[&ComponentDigest]) -> Result<(), DatabaseError> {
        let mut digests: Vec<&str> = digests.iter().map(|digest| digest.as_str()).collect();
        // In key order, so that two hosts cannot deadlock; each once, for a statement writes a row once.
        digests.sort_unstable();
        digests.dedup();
        let used = "INSERT INTO dbos_host.component_use (digest) SELECT unnest($1::text[])
                    ON CONFLICT (digest) DO UPDATE SET used_at = now()";
        self.client().await?.execute(used, &[&digests]).await?;
        Ok(())
    }

    /// Removes the components that nobody needs, or only names them: no run has them, no app has them as its current one,
    /// and nobody has used them for a week.
    ///
    /// # Errors
    /// When the database does not answer. Some may have been removed.
    pub async fn remove_unused_components(&self, dry_run: bool) -> Result<Vec<String>, DatabaseError> {
        let client = self.client().await?;
        let unused = client.query(LONG_UNUSED, &[&UNUSED_DAYS]).await?;
        let mut removed = Vec::new();
        for digest in unused.iter().map(|row| row.get::<_, String>(0)) {
            if client.query_one(HAS_RUNS, &[&digest]).await?.get(0) {
                continue;
            }
            if dry_run || client.query_opt(REMOVE, &[&digest, &UNUSED_DAYS]).await?.is_some() {
                removed.push(digest);
            }
        }
        Ok(removed)
    }

    /// Loads a component. `None`: there is none with this digest.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn load_component(&self, digest: &ComponentDigest) -> Result<Option<StoredComponent>, DatabaseError> {
        let client = self.client().await?;
        let row =
            client.query_opt("SELECT bytes FROM dbos_host.component WHERE digest = $1", &[&digest.as_str()]).await?;
        Ok(row.map(|row| StoredComponent { digest: digest.clone(), bytes: row.get(0) }))
    }

    /// The manifest of a component, as it was stored. `None`: there is none with this digest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn component_manifest(&self, digest: &ComponentDigest) -> Result<Option<String>, DatabaseError> {
        let client = self.client().await?;
        let query = "SELECT manifest::text FROM dbos_host.component WHERE digest = $1";
        Ok(client.query_opt(query, &[&digest.as_str()]).await?.map(|row| row.get(0)))
    }
}
