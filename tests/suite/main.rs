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
mod http_answers;
mod http_problems;
mod lost_answers;
mod loud_guests;
mod migrations;
mod neighbours;
mod numbers;
mod outbound;
mod phases;
mod poolers;
mod postgres_restarts;
mod raw_http;
mod refused_records;
mod resume;
mod retries;
mod secrets;
mod several_apps;
mod small_steps;
mod sql_patience;
mod sql_values;
mod starts;
mod stops;
mod tidy;
mod tls;
mod traces;
