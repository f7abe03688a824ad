//! A record that has a commit for itself.
//!
//! The statement for many is made for many: for one alone, putting its arrays together and joining them takes longer than
//! writing the record. So one alone goes through a function of the system schema, whose steps are as simple as they look.

use tokio_postgres::{Client, Error, Statement};

use super::of_result;
use crate::database::journal::Landed;
use crate::database::record::NewRecord;
use crate::workflow::WorkflowId;

const WRITE: &str = "SELECT dbos_host.write_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Prepares the statement for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(WRITE).await
}

/// Writes one record whose key should not be there; without an effect. An error says that it is.
pub(in crate::database) async fn write(
    client: &Client,
    statement: &Statement,
    new: &NewRecord,
) -> Result<Landed, Error> {
    let (output, error) = of_result(&new.result);
    let row = client
        .query_one(
            statement,
            &[
                &new.claim.run().as_str(),
                &new.claim.token(),
                &new.step.get(),
                &new.name,
                &output,
                &error,
                &new.child.as_ref().map(WorkflowId::as_str),
                &new.started_at.0,
                &new.completed_at.0,
                &new.app.as_str(),
                &new.digest.as_ref().map(|digest| digest.0.as_slice()),
            ],
        )
        .await?;
    Ok(if row.try_get(0)? { Landed::Written } else { Landed::NotOwner })
}
