//! What is missing in a database, decided from what was found there. Pure.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use super::error::MigrationError;

/// A migration of schema `dbos`, counted as the SDKs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DbosVersion(pub i64);

impl DbosVersion {
    /// What this host creates, and the least that it can work with.
    pub const NEEDED: Self = Self(125);
}

impl fmt::Display for DbosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A migration of schema `dbos_host`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostVersion(pub i32);

impl fmt::Display for HostVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sha-256 of a migration's text, in lowercase hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    fn of(sql: &str) -> Self {
        Self(Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One migration: what is applied, and marked as applied, by one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create schema `dbos` as it is at [`DbosVersion::NEEDED`].
    CreateDbos,
    /// One file of schema `dbos_host`.
    Host {
        /// Its number.
        version: HostVersion,
        /// Its text.
        sql: &'static str,
        /// What is recorded beside its number.
        checksum: Checksum,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDbos => write!(f, "schema `dbos` at migration {}", DbosVersion::NEEDED),
            Self::Host { version, .. } => write!(f, "migration {version} of schema `dbos_host`"),
        }
    }
}

/// What a database says about its migrations.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `None`: no schema `dbos`, or one in which no migration was applied yet.
    pub(super) dbos: Option<DbosVersion>,
    /// The applied migrations of `dbos_host` with their checksums.
    pub(super) host: BTreeMap<HostVersion, String>,
}

/// The steps that a database lacks, in the order in which they have to be applied: `dbos_host` may refer to `dbos`.
///
/// `known` are the migrations of `dbos_host` from version 1 on.
pub(super) fn plan(found: &Found, known: &[&'static str]) -> Result<Vec<Step>, MigrationError> {
    let mut steps = Vec::new();
    match found.dbos {
        None => steps.push(Step::CreateDbos),
        Some(version) if version < DbosVersion::NEEDED => return Err(MigrationError::OldDbos { found: version }),
        Some(_same_or_newer) => {}
    }

    let known: BTreeMap<HostVersion, &'static str> = (1..).map(HostVersion).zip(known.iter().copied()).collect();
    let newest_known = known.last_key_value().map_or(HostVersion(0), |(version, _)| *version);
    if let Some((&newest, _)) = found.host.last_key_value()
        && newest > newest_known
    {
        return Err(MigrationError::NewHost { found: newest, known: newest_known });
    }
    for (version, sql) in known {
        let checksum = Checksum::of(sql);
        match found.host.get(&version) {
            None => steps.push(Step::Host { version, sql, checksum }),
            Some(recorded) if recorded == checksum.as_str() => {}
            Some(_other) => return Err(MigrationError::ChangedHost { version }),
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["CREATE one", "CREATE two"];

    fn found(dbos: Option<i64>, host: &[(i32, &str)]) -> Found {
        let recorded = |(version, sql): &(i32, &str)| (HostVersion(*version), Checksum::of(sql).0);
        Found { dbos: dbos.map(DbosVersion), host: host.iter().map(recorded).collect() }
    }

    /// The steps in short: 0 for schema `dbos`, else the number of the migration.
    fn planned(found: &Found) -> Vec<i32> {
        let short = |step: &Step| match step {
            Step::CreateDbos => 0,
            Step::Host { version, .. } => version.0,
        };
        plan(found, KNOWN).expect("a database that is accepted").iter().map(short).collect()
    }

    fn refused(found: &Found) -> String {
        plan(found, KNOWN).expect_err("a database that is refused").to_string()
    }

    #[test]
    fn an_empty_database_gets_everything_and_dbos_first() {
        assert_eq!(planned(&found(None, &[])), [0, 1, 2]);
    }

    #[test]
    fn a_database_that_an_sdk_has_migrated_is_taken_as_it_is_now_and_later() {
        assert_eq!(planned(&found(Some(125), &[])), [1, 2]);
        assert_eq!(planned(&found(Some(126), &[])), [1, 2]);
    }

    #[test]
    fn only_what_is_missing_is_applied() {
        assert_eq!(planned(&found(Some(125), &[(1, KNOWN[0])])), [2]);
        assert_eq!(planned(&found(Some(125), &[(1, KNOWN[0]), (2, KNOWN[1])])), Vec::<i32>::new());
    }

    #[test]
    fn an_old_shared_schema_is_refused_with_both_versions_and_the_way_out() {
        let text = refused(&found(Some(124), &[]));
        assert!(text.contains("`124`") && text.contains("`125`") && text.contains("dbos migrate"), "{text}");
    }

    #[test]
    fn a_newer_schema_of_our_own_is_refused_with_both_versions() {
        let text = refused(&found(Some(125), &[(1, KNOWN[0]), (2, KNOWN[1]), (3, "CREATE three")]));
        assert!(text.contains("`3`") && text.contains("`2`"), "{text}");
    }

    #[test]
    fn a_migration_that_was_edited_after_it_was_applied_is_refused() {
        let text = refused(&found(Some(125), &[(1, "CREATE another one")]));
        assert!(text.contains("migration `1`"), "{text}");
    }

    #[test]
    fn a_checksum_is_the_one_that_other_tools_compute() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Checksum::of("abc").as_str(), of_abc);
    }
}
