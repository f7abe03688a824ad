//! `sql`: the app's own tables, in a transaction step.

use wasmtime::component::Resource;

use super::bindings::imports::sql;
use super::guest::{Guest, Phase};
use super::interrupt::Interrupt;
use crate::database::{CursorNumber, Doomed, GuestSession, SqlFailure};
use crate::workflow::Failure;

impl From<SqlFailure> for sql::SqlError {
    fn from(failure: SqlFailure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            detail: failure.detail.map(Into::into),
            hint: failure.hint.map(Into::into),
            constraint: failure.constraint.map(Into::into),
            position: failure.position,
        }
    }
}

impl Guest {
    async fn session(&mut self, call: &str) -> Result<&mut GuestSession, Box<sql::SqlError>> {
        match self.act().await {
            Phase::Transaction(calls) => Ok(&mut calls.session),
            _ => {
                let failure = Failure::wrong_phase(call, "a transaction");
                Err(Box::new(sql::SqlError {
                    code: "wrong_phase".into(),
                    message: failure.message,
                    detail: None,
                    hint: None,
                    constraint: None,
                    position: None,
                }))
            }
        }
    }
}

/// A doomed transaction unwinds the guest at once: whatever it computed from what it read may be wrong.
fn ended<T>(result: Result<Result<T, SqlFailure>, Doomed>) -> wasmtime::Result<Result<T, SqlFailure>> {
    result.map_err(|Doomed| wasmtime::Error::new(Interrupt::RunAgain))
}

impl sql::Host for Guest {
    async fn query(
        &mut self,
        statement: String,
        parameters: String,
    ) -> wasmtime::Result<Result<String, sql::SqlError>> {
        let answer = match self.session("sql.query").await {
            Ok(session) => ended(session.query(&statement, &parameters).await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }

    async fn execute(&mut self, statement: String, parameters: String) -> wasmtime::Result<Result<u64, sql::SqlError>> {
        let answer = match self.session("sql.execute").await {
            Ok(session) => ended(session.execute(&statement, &parameters).await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }

    async fn open(
        &mut self,
        statement: String,
        parameters: String,
    ) -> wasmtime::Result<Result<Resource<CursorNumber>, sql::SqlError>> {
        let answer = match self.session("sql.open").await {
            Ok(session) => ended(session.open_cursor(&statement, &parameters).await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer.map(|cursor| Resource::new_own(cursor.0)))
    }

    async fn savepoint(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        let answer = match self.session("sql.savepoint").await {
            Ok(session) => ended(session.savepoint().await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }

    async fn release(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        let answer = match self.session("sql.release").await {
            Ok(session) => ended(session.release().await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }

    async fn rollback_to(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        let answer = match self.session("sql.rollback-to").await {
            Ok(session) => ended(session.rollback_to().await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }
}

/// A guest names a cursor by a handle that wasmtime checks, so that the number behind it is one that was given out.
impl sql::HostCursor for Guest {
    async fn next(
        &mut self,
        cursor: Resource<CursorNumber>,
        most: u32,
    ) -> wasmtime::Result<Result<String, sql::SqlError>> {
        let answer = match self.session("sql.cursor.next").await {
            Ok(session) => ended(session.next_rows(CursorNumber(cursor.rep()), most).await)?,
            Err(error) => return Ok(Err(*error)),
        };
        self.answered(answer)
    }

    async fn drop(&mut self, cursor: Resource<CursorNumber>) -> wasmtime::Result<()> {
        if let Phase::Transaction(calls) = self.phase_mut() {
            calls.session.abandon_cursor(CursorNumber(cursor.rep()));
        }
        Ok(())
    }
}
