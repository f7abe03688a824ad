//! The integration suite: one module for each promise.

#![expect(clippy::unwrap_used, reason = "this crate is nothing but tests, their helper functions included")]

mod acknowledged;
mod admin;
mod break_ins;
mod cancel;
mod command_line;
mod components;
mod containment;
mod costs;
mod crash_sweep;
mod database;
mod deployments;
mod determinism;
mod divergence;
mod endless;
mod fencing;
mod greed;
mod guide;
mod harness;
mod hostile_components;
mod lost_answers;
mod loud_guests;
mod migrations;
mod neighbours;
mod help;
mod logs;
mod lost_answers;
mod loud_guests;
mod migrations;
mod new_project;
mod numbers;
mod outbound;
mod phases;
mod postgres_restarts;
mod refused_records;
mod resume;
mod reset;
mod retries;
mod small_steps;
mod sql_patience;
mod starts;
mod stops;
mod terminals;
mod tidy;
