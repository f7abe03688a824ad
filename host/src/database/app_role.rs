//! The login that an app's SQL runs on.
//!
//! A guest's SQL is not trusted, so it must not reach the system's tables. `SET ROLE` inside a shared login is no
//! protection: guest SQL can undo it. So each app has a login role of its own with no rights in `dbos` and `dbos_host`
//! except to call one function, and no memberships. Its password is derived from the database's secret, so every host
//! knows it and nobody has to store it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;

use super::error::DatabaseError;
use super::url::DatabaseUrl;
use crate::workflow::AppName;

/// The longest name of a role; Postgres cuts longer ones.
const MAX_ROLE_BYTES: usize = 63;

/// A login for an app's SQL (lifetime: the process).
#[derive(Debug, Clone)]
pub struct GuestLogin {
    url: DatabaseUrl,
    role: Option<String>,
}

/// A role that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The host's login may not make the role.
    #[error(
        "the host's database login may not create the role of the app: {reason}\n  hint: run this as an administrator \
         of the database, then start again:\n{sql}"
    )]
    MayNot {
        /// What the server said.
        reason: String,
        /// What an administrator has to run.
        sql: String,
    },
    /// The role could reach what it must not.
    #[error(
        "the role `{role}` must have no rights in the system's schemas, but {reason}\n  hint: revoke that, or set \
         `database.trusted: true` if the app may do anything"
    )]
    TooMighty {
        /// The role.
        role: String,
        /// What it may do.
        reason: String,
    },
    /// The role exists and the login with it fails.
    #[error("cannot log in as the app's role `{role}`: {reason}")]
    CannotLogIn {
        /// The role.
        role: String,
        /// What the server said.
        reason: String,
    },
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl GuestLogin {
    /// Where and as whom the app's SQL runs.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The app's role; `None` when the app is trusted with the host's own login.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }
}

impl super::Database {
    /// The host's own login, for an app that is trusted with it.
    #[must_use]
    pub fn trusted_login(&self) -> GuestLogin {
        GuestLogin { url: self.url().clone(), role: None }
    }

    /// The role of an app: the configured one, or one that is named after database and app.
    #[must_use]
    pub fn role_of(&self, app: &AppName, configured: Option<&str>) -> String {
        configured.map_or_else(|| default_role(&self.name(), app), str::to_owned)
    }

    fn name(&self) -> String {
        self.url().database().to_owned()
    }

    /// The app's own login: makes the role if it is missing, grants what it needs, and checks that it has no more.
    ///
    /// # Errors
    /// When the role cannot be made, cannot log in, or may do too much.
    pub async fn guest_login(&self, app: &AppName, configured: Option<&str>) -> Result<GuestLogin, RoleError> {
        let (database, role) = (self.name(), self.role_of(app, configured));
        let password = password(&self.secret().await?, &role);
        let login = GuestLogin { url: self.url().with_login(&role, &password), role: Some(role.clone()) };

        // Before anything is changed: a role that may do too much is somebody else's, who needs its password.
        self.check_role(&role).await?;
        let client = self.client().await?;
        // Most starts find everything as it should be, and need no rights to make roles.
        let ready = login.url.connect().await.is_ok() && self.may_record(&role).await?;
        if !ready {
            let sql = setup_sql(&database, &role, &password);
            if let Err(error) = client.batch_execute(&format!("BEGIN; {sql} COMMIT;")).await {
                client.batch_execute("ROLLBACK").await.map_err(DatabaseError::from)?;
                if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                    let reason = DatabaseError::from(error).to_string();
                    return Err(RoleError::MayNot { reason, sql });
                }
                return Err(DatabaseError::from(error).into());
            }
            login.url.connect().await.map_err(|error| RoleError::CannotLogIn {
                role: role.clone(),
                reason: DatabaseError::from(error).to_string(),
            })?;
        }
        self.check_role(&role).await?;
        Ok(login)
    }

    async fn may_record(&self, role: &str) -> Result<bool, DatabaseError> {
        let client = self.client().await?;
        let row = client
            .query_one(
                "SELECT has_schema_privilege($1, 'dbos_host', 'USAGE') AND has_function_privilege($1, $2, 'EXECUTE')",
                &[&role, &END_TRANSACTION],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Refuses a role that could reach what it must not. One that does not exist reaches nothing.
    async fn check_role(&self, role: &str) -> Result<(), RoleError> {
        let client = self.client().await?;
        let row = client
            .query_opt(
                "SELECT r.rolsuper, r.rolcreaterole OR r.rolreplication OR r.rolbypassrls,
                        has_schema_privilege(r.oid, 'dbos', 'USAGE'),
                        EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid),
                        EXISTS (SELECT 1 FROM pg_class c WHERE c.relkind IN ('r', 'v', 'p')
                                   AND c.relnamespace = 'dbos_host'::regnamespace
                                   AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE'))
                   FROM pg_roles r WHERE r.rolname = $1",
                &[&role],
            )
            .await
            .map_err(DatabaseError::from)?;
        let Some(row) = row else { return Ok(()) };
        let findings = [
            (row.get(0), "it is a superuser"),
            (row.get(1), "it may create roles, replicate or bypass row security"),
            (row.get(2), "it may use the schema `dbos`"),
            (row.get(3), "it is a member of another role"),
            (row.get(4), "it may read or write tables of the schema `dbos_host`"),
        ];
        match findings.into_iter().find(|(found, _)| *found) {
            None => Ok(()),
            Some((_, reason)) => Err(RoleError::TooMighty { role: role.into(), reason: reason.into() }),
        }
    }
}

/// The one function that the role of an app may call, with the types of its parameters.
const END_TRANSACTION: &str = "dbos_host.end_transaction(text, text, text, integer, text, text, bigint, bigint, bytea, \
     text, text, text, text, text, bigint, text, text, text, text)";

/// `dbos_<database>:<app>`: roles belong to the whole server, and two databases of one server must not share one. No app
/// has a colon in its name, so that no two pairs have one role.
fn default_role(database: &str, app: &AppName) -> String {
    let name = format!("dbos_{database}:{app}");
    if name.len() <= MAX_ROLE_BYTES {
        return name;
    }
    let hash = hex(&Sha256::digest(name.as_bytes())[..8]);
    let kept: String = name
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= 46).then_some(c)
        })
        .collect();
    format!("{kept}_{hash}")
}

fn password(secret: &[u8], role: &str) -> String {
    hex(&Sha256::new().chain_update(secret).chain_update("role").chain_update(role).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What makes the role and gives it what it needs. It can be run again. The tables that the app makes are its own.
///
/// The password is not in it, only what the server keeps of one: the text is shown to people where the host may not run
/// it, and stands in the server's log where it may.
fn setup_sql(database: &str, role: &str, password: &str) -> String {
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let (database, name) = (quoted(database), quoted(role));
    let literal = role.replace('\'', "''");
    format!(
        "SELECT pg_advisory_xact_lock(hashtextextended('dbos_host.app_role', 0));
DO $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{literal}') THEN
    CREATE ROLE {name};
  END IF;
END $$;
ALTER ROLE {name} LOGIN NOCREATEDB NOINHERIT PASSWORD '{verifier}';
GRANT {name} TO CURRENT_USER;
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {name};
GRANT USAGE, CREATE ON SCHEMA public TO {name};
GRANT USAGE ON SCHEMA dbos_host TO {name};
GRANT EXECUTE ON FUNCTION {END_TRANSACTION} TO {name};
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_fit_and_stay_apart() {
        let app = AppName::parse("greeting").unwrap();
        assert_eq!(default_role("dbos", &app), "dbos_dbos:greeting");
        let [z, y_z] = ["z", "y_z"].map(|name| AppName::parse(name).unwrap());
        assert_ne!(default_role("x_y", &z), default_role("x", &y_z));
        let long = AppName::parse(&"x".repeat(200)).unwrap();
        let other = AppName::parse(&"x".repeat(201)).unwrap();
        let (a, b) = (default_role("dbos", &long), default_role("dbos", &other));
        assert!(a.len() <= MAX_ROLE_BYTES && a != b, "{a} {b}");
    }

    #[test]
    fn names_are_quoted_in_the_setup() {
        let sql = setup_sql("d", "a\"b'c", "00");
        assert!(sql.contains("CREATE ROLE \"a\"\"b'c\"") && sql.contains("rolname = 'a\"b''c'"), "{sql}");
    }
}
