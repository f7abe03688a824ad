//! The bytes of components. A run is replayed by the very component that started it, years later, so its bytes are kept
//! where its records are.

use super::error::DatabaseError;
use crate::workflow::ComponentDigest;

/// A stored component.
#[derive(Debug, Clone)]
pub struct StoredComponent {
    /// Its identity.
    pub digest: ComponentDigest,
    /// The file.
    pub bytes: Vec<u8>,
}

impl super::Database {
    /// Stores a component. When it returns, runs of it can be recovered by any host on this database.
    ///
    /// # Errors
    /// When the database does not answer, or the file is larger than a row can be (1 GB).
    pub async fn store_component(
        &self,
        digest: &ComponentDigest,
        bytes: &[u8],
        manifest: &str,
    ) -> Result<(), DatabaseError> {
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
