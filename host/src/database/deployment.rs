//! Which component new runs of an app take: the one that was deployed last.
//!
//! Recorded in DBOS's own `application_versions`, where the version with the greatest timestamp is the latest, so that
//! other consoles show it. A restart with a component that is known already changes nothing: with several hosts, the one
//! that happens to restart last must not decide what runs. Going back to an older one is a deployment too.

use super::error::DatabaseError;
use crate::workflow::{AppName, ComponentDigest};

/// A deployment that was not made.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// DBOS keeps version names unique over all apps of a database.
    #[error(
        "the same component is deployed as another app (`{0}`) in this database\n  hint: build it once more with any \
         change, or give each app a database of its own"
    )]
    TakenByAnotherApp(String),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl super::Database {
    /// Makes `digest` the version of new runs if the app has never had it (`again` = false), or in any case (true).
    /// Returns the app's current version, which is another one if a known component was not deployed again.
    ///
    /// # Errors
    /// When another app has this very component, or the database does not answer.
    pub async fn deploy(
        &self,
        app: &AppName,
        digest: &ComponentDigest,
        again: bool,
    ) -> Result<ComponentDigest, DeployError> {
        let client = self.client().await.map_err(DeployError::Database)?;
        // The timestamp is later than every other of the app, also when clocks stand still or went back.
        let row = client
            .query_opt(
                "INSERT INTO dbos.application_versions (version_id, version_name, application_name, version_timestamp)
                 SELECT gen_random_uuid()::text, $1, $2,
                        greatest((extract(epoch FROM now()) * 1000)::bigint,
                                 (SELECT max(version_timestamp) + 1 FROM dbos.application_versions
                                   WHERE application_name = $2))
                 ON CONFLICT DO NOTHING
                 RETURNING 1",
                &[&digest.as_str(), &app.as_str()],
            )
            .await
            .map_err(DatabaseError::from)?;
        if row.is_none() {
            let owner: Option<String> = client
                .query_one(
                    "SELECT application_name FROM dbos.application_versions WHERE version_name = $1",
                    &[&digest.as_str()],
                )
                .await
                .map_err(DatabaseError::from)?
                .get(0);
            if owner.as_deref() != Some(app.as_str()) {
                return Err(DeployError::TakenByAnotherApp(owner.unwrap_or_default()));
            }
        }
        if again {
            client
                .execute(
                    "UPDATE dbos.application_versions
                        SET version_timestamp = greatest((extract(epoch FROM now()) * 1000)::bigint,
                            (SELECT max(version_timestamp) + 1 FROM dbos.application_versions
                              WHERE application_name = $2))
                      WHERE version_name = $1 AND application_name = $2",
                    &[&digest.as_str(), &app.as_str()],
                )
                .await
                .map_err(DatabaseError::from)?;
        }
        Ok(self.deployed(app).await?.unwrap_or_else(|| digest.clone()))
    }

    /// The app's current version. `None`: none was deployed, or the latest is not a component of this host.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn deployed(&self, app: &AppName) -> Result<Option<ComponentDigest>, DatabaseError> {
        let client = self.client().await?;
        let row = client
            .query_opt(
                "SELECT version_name FROM dbos.application_versions WHERE application_name = $1
                  ORDER BY version_timestamp DESC LIMIT 1",
                &[&app.as_str()],
            )
            .await?;
        Ok(row.and_then(|row| ComponentDigest::stored(row.get(0))))
    }
}
