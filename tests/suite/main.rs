//! The integration suite: one module for each promise.

#![expect(clippy::unwrap_used, reason = "this crate is nothing but tests, their helper functions included")]

mod command_line;
mod components;
mod containment;
mod costs;
mod crash_sweep;
mod database;
mod deployments;
mod determinism;
mod divergence;
mod fencing;
mod guide;
mod harness;
mod lost_answers;
mod migrations;
mod outbound;
mod phases;
mod postgres_restarts;
mod retries;
mod small_steps;
mod starts;
mod tidy;
