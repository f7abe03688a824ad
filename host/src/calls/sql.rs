//! `sql`: the app's own tables, in a transaction step.

use super::bindings::imports::sql;
use super::guest::{Guest, Phase};
use super::interrupt::Interrupt;
use crate::database::{Doomed, GuestSession, SqlFailure};
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
    fn session(&mut self, call: &str) -> Result<&mut GuestSession, Box<sql::SqlError>> {
        match self.act() {
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
fn answer<T>(result: Result<Result<T, SqlFailure>, Doomed>) -> wasmtime::Result<Result<T, sql::SqlError>> {
    match result {
        Ok(answer) => Ok(answer.map_err(Into::into)),
        Err(Doomed) => Err(wasmtime::Error::new(Interrupt::RunAgain)),
    }
}

impl sql::Host for Guest {
    async fn query(
        &mut self,
        statement: String,
        parameters: String,
    ) -> wasmtime::Result<Result<String, sql::SqlError>> {
        match self.session("sql.query") {
            Ok(session) => answer(session.query(&statement, &parameters).await),
            Err(error) => Ok(Err(*error)),
        }
    }

    async fn execute(&mut self, statement: String, parameters: String) -> wasmtime::Result<Result<u64, sql::SqlError>> {
        match self.session("sql.execute") {
            Ok(session) => answer(session.execute(&statement, &parameters).await),
            Err(error) => Ok(Err(*error)),
        }
    }

    async fn savepoint(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        match self.session("sql.savepoint") {
            Ok(session) => answer(session.savepoint().await),
            Err(error) => Ok(Err(*error)),
        }
    }

    async fn release(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        match self.session("sql.release") {
            Ok(session) => answer(session.release().await),
            Err(error) => Ok(Err(*error)),
        }
    }

    async fn rollback_to(&mut self) -> wasmtime::Result<Result<(), sql::SqlError>> {
        match self.session("sql.rollback-to") {
            Ok(session) => answer(session.rollback_to().await),
            Err(error) => Ok(Err(*error)),
        }
    }
}
