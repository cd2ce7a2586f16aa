//! Readings as a table.
#![expect(clippy::print_stdout, reason = "a bench prints its readings")]

use std::process::ExitCode;

/// The table as it is being printed.
#[derive(Debug, Default)]
pub struct Table {
    missed: Vec<String>,
}

/// What a reading must come to.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// No more than this.
    Most(f64),
    /// No less than this.
    Least(f64),
    /// Nothing is promised.
    None,
}

impl Table {
    /// Begins a part of it.
    pub fn head(title: &str) {
        println!("\n{title}");
        println!(
            "  {:<34} {:>16} {:>16}  {:<18} {:>7}  {:<9} verdict",
            "what", "measured", "against", "", "ratio", "goal"
        );
    }

    /// Adds a reading. `value` is what the goal bounds.
    pub fn row(&mut self, what: &str, measured: &str, against: Option<(&str, String)>, value: f64, goal: Goal) {
        let (name, other) = against.unwrap_or_default();
        let ratio = if name.is_empty() { String::new() } else { format!("{value:.2}") };
        let (bound, met) = match goal {
            Goal::Most(most) => (format!("<= {most}"), Some(value <= most)),
            Goal::Least(least) => (format!(">= {least}"), Some(value >= least)),
            Goal::None => (String::new(), None),
        };
        let verdict = match met {
            Some(true) => "ok",
            Some(false) => "NOT MET",
            None => "",
        };
        println!("  {what:<34} {measured:>16} {other:>16}  {name:<18} {ratio:>7}  {bound:<9} {verdict}");
        if met == Some(false) {
            self.missed
                .push(format!("{what}{}{name}: {value:.2}, goal {bound}", if name.is_empty() { "" } else { " / " }));
        }
    }

    /// Says what was missed; a failure if anything was.
    #[must_use]
    pub fn end(&self) -> ExitCode {
        println!("\n{} goals not met", self.missed.len());
        self.missed.iter().for_each(|missed| println!("  {missed}"));
        if self.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The middle reading.
#[must_use]
pub fn median(mut readings: Vec<f64>) -> f64 {
    readings.sort_by(f64::total_cmp);
    readings[readings.len() / 2]
}

/// A count with separators.
#[must_use]
pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
