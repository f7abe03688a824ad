//! The integration suite: one module for each promise.

#![expect(clippy::unwrap_used, reason = "this crate is nothing but tests, their helper functions included")]

mod acknowledged;
mod break_ins;
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
mod loud_guests;
mod migrations;
mod numbers;
mod outbound;
mod phases;
mod poolers;
mod postgres_restarts;
mod refused_records;
mod retries;
mod small_steps;
mod starts;
mod stops;
mod tidy;
mod tls;
