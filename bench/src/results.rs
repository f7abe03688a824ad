//! What was measured, as people and programs read it: on the terminal, as JSON, and as `bench/RESULTS.md` with its
//! pictures.
//!
//! This module must not know how anything is measured.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use dbos_host_tests::programs;
use serde_json::json;

use crate::limits::Limit;
use crate::machine::Machine;
use crate::options::Options;
use crate::picture::{Line, Picture};
use crate::server::Server;
use crate::table::median;
use crate::work::{Measured, SERIES_OF_HISTORY, SERIES_OF_THROUGHPUT};

/// Beside the results.
const ANSWERS: &str = "ANSWERS.md";

/// The marks below the pictures.
const CONCURRENCIES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
const LENGTHS: [f64; 4] = [100.0, 1_000.0, 10_000.0, 50_000.0];

/// How the table is to be read.
const HOW_TO_READ: &str = "\
Each load is compared with a limit of the database that was measured right before and right after it; the ratio is what
the host is answerable for. Figures with three values are those of three rounds; what takes long was measured once. Host,
database and generator shared the machine; the last column says how many processors each of them kept busy, and how many
programs that have nothing to do with it did. After each load, the runs, records and rows that its answers tell of were
counted in the database: all were there, and nothing beside them. A bar with `×` is one for the ratio.
";

/// Prints the results, and writes them down if that was asked for.
pub(crate) fn give(options: &Options, server: &Server, measured: &Measured) -> Result<()> {
    let machine = Machine::here();
    let mut out = std::io::stdout().lock();
    if options.json {
        let settings: serde_json::Map<_, _> =
            server.settings().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let all = json!({
            "machine": machine.to_json(), "settings": settings, "command": command(options),
            "rows": measured.table.to_json(), "throughput": measured.throughput, "history": measured.history,
            "notes": measured.notes,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        write!(out, "{}", text(options, server, measured, &machine))?;
    }
    if options.write {
        write_down(&programs::source("bench"), options, server, measured, &machine)?;
    }
    Ok(())
}

/// `bench/RESULTS.md`, without its pictures.
fn text(options: &Options, server: &Server, measured: &Measured, machine: &Machine) -> String {
    let settings: Vec<String> = server.settings().iter().map(|(name, value)| format!("`{name} = {value}`")).collect();
    let missed = measured.table.missed();
    let verdict = if missed.is_empty() {
        "Every bar holds.".to_owned()
    } else {
        format!("Missed: {}.", missed.iter().map(|name| format!("“{name}”")).collect::<Vec<_>>().join(", "))
    };
    let notes: String = measured.notes.iter().map(|note| format!("{note}\n")).collect();
    format!(
        "`{}`, {}. The server: {}.\n\n{}\n{verdict}\n{notes}",
        command(options),
        machine.to_markdown(),
        settings.join(", "),
        measured.table.to_markdown()
    )
}

fn command(options: &Options) -> String {
    let words = options.words.join(" ");
    if words.is_empty() { "cargo xtask bench".into() } else { format!("cargo xtask bench -- {words}") }
}

fn write_down(folder: &Path, options: &Options, server: &Server, measured: &Measured, machine: &Machine) -> Result<()> {
    let pictures = folder.join("pictures");
    fs::create_dir_all(&pictures).with_context(|| format!("create `{}`", pictures.display()))?;
    let mut shown = String::new();
    for (name, picture) in [("throughput", throughput(measured)), ("history", history(measured))] {
        let Some(svg) = picture.to_svg() else { continue };
        let file = pictures.join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("write `{}`", file.display()))?;
        shown += &format!("\n![{}](pictures/{name}.svg)\n", picture.title);
    }
    // Profiles are written by people, and must not be lost when the bench writes its results again.
    let answers = if folder.join(ANSWERS).exists() {
        format!("\nWhat bounds the bars that are missed, and what was tried: [{ANSWERS}]({ANSWERS}).\n")
    } else {
        String::new()
    };
    let results = format!(
        "# Results\n\nWritten by the bench itself. {HOW_TO_READ}\n{}{answers}{shown}",
        text(options, server, measured, machine)
    );
    let file = folder.join("RESULTS.md");
    fs::write(&file, results).with_context(|| format!("write `{}`", file.display()))
}

fn throughput(measured: &Measured) -> Picture<'_> {
    let series = SERIES_OF_THROUGHPUT.iter().filter_map(|name| Some((*name, measured.throughput.get(name)?.clone())));
    let mut lines: Vec<Line<'_>> = series.map(|(name, points)| Line { name, points, dashed: false }).collect();
    let ends = [CONCURRENCIES[0], CONCURRENCIES[CONCURRENCIES.len() - 1]];
    for (limit, name) in [(Limit::OneRow, "limit: one-row commits"), (Limit::TwoFlights, "limit: WT in two flights")] {
        let Some(value) = measured.table.median(limit.name()) else { continue };
        lines.push(Line { name, points: ends.map(|end| (end, value)).into(), dashed: true });
    }
    if measured.throughput.is_empty() {
        lines.clear();
    }
    Picture {
        title: "Throughput against concurrency",
        across: "workflows in flight",
        up: "workflows in a second",
        marks: &CONCURRENCIES,
        lines,
    }
}

fn history(measured: &Measured) -> Picture<'_> {
    let series = SERIES_OF_HISTORY.iter().filter_map(|name| Some((*name, measured.history.get(name)?)));
    let lines = series.map(|(name, points)| {
        let points = points.iter().map(|(steps, values)| (f64::from(*steps), median(values))).collect();
        Line { name, points, dashed: false }
    });
    Picture {
        title: "What a history costs after a restart",
        across: "recorded steps of the run",
        up: "milliseconds",
        marks: &LENGTHS,
        lines: lines.collect(),
    }
}
