//! Two workflows of one name, and two routes of one path: a program that cannot be loaded.

use dbos_guest::prelude::*;

#[workflow(name = "twin")]
fn castor() {}

#[workflow(name = "twin")]
fn pollux() {}

#[get("/star/{name}")]
fn star(name: &str) -> String {
    name.to_owned()
}

#[get("/star/{number}")]
fn numbered_star(number: u32) -> String {
    number.to_string()
}
