//! What the command says: text for people, or one JSON object a line for programs.

use serde_json::Value;

/// Where results go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show {
    /// JSON objects on standard output instead of text.
    pub json: bool,
    /// No progress, results only.
    pub quiet: bool,
}

impl Show {
    /// A line for people.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.json {
            print_line(&text.to_string());
        }
    }

    /// Something that went on but is worth a thought.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
        }
        self.event("warning", serde_json::json!({ "message": text }));
    }

    /// An event for programs: an object with a field `event`.
    pub fn event(&self, name: &str, mut fields: Value) {
        if self.json {
            if let Some(fields) = fields.as_object_mut() {
                fields.insert("event".into(), name.into());
            }
            print_line(&fields.to_string());
        }
    }
}

/// A closed pipe (`| head`) is no reason to panic, nor to stop training.
fn print_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A share as percent.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}
