//! Mistakes in a topology file or in what `--set` makes of it, shown where they stand; other errors in one line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::exit::Exit;
use anyedge_live::lab::refused::Refused;
use anyedge_topologies::Diagnostic;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
    Severity,
};

/// Prints every mistake of `file` on stderr, with the line that it stands on.
pub(crate) fn print(file: &Path, found: &[Diagnostic]) {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut stderr = std::io::stderr().lock();
    for mistake in found {
        // The topology, or a file that it includes. One that cannot be read has no lines to show.
        let read = || fs::read_to_string(&mistake.file).unwrap_or_default();
        let text = texts.entry(&mistake.file).or_insert_with(read);
        let text = mistake.option.as_deref().unwrap_or(text);
        let _ = write!(stderr, "{}", render(mistake, text));
    }
    let count = found.len();
    let _ = writeln!(
        stderr,
        "{}: {count} mistake{}",
        file.display(),
        if count == 1 { "" } else { "s" }
    );
}

fn render(mistake: &Diagnostic, text: &str) -> String {
    let Diagnostic { object, reason, .. } = mistake;
    let headline = format!("{}: {object}: {reason}", mistake.place());
    shown(Severity::Error, &headline, mistake, text)
}

/// A warning under a headline of its own, with the line of `text` that it is about.
pub(crate) fn shown_as_warning(headline: &str, at: &Diagnostic, text: &str) -> String {
    shown(Severity::Warning, headline, at, text)
}

fn shown(severity: Severity, headline: &str, at: &Diagnostic, text: &str) -> String {
    let hint = at.hint.as_deref();
    let plain = || match hint {
        Some(hint) => format!("{headline}\n  hint: {hint}\n"),
        None => format!("{headline}\n"),
    };
    if at.span.is_empty() || at.span.end > text.len() {
        return plain();
    }
    let label = LabeledSpan::at(at.span.clone(), hint.unwrap_or_default());
    let source = at.option.as_ref().map_or(at.file.as_str(), |_| "--set");
    let diagnostic = MietteDiagnostic::new(headline)
        .with_severity(severity)
        .with_label(label);
    let report =
        Report::new(diagnostic).with_source_code(NamedSource::new(source, text.to_owned()));
    let mut shown = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(200);
    match handler.render_report(&mut shown, report.as_ref()) {
        Ok(()) => shown,
        Err(_) => plain(),
    }
}

/// Text on stdout. A reader that has seen enough is no failure of ours.
pub(crate) fn say(text: &str) {
    let _ = write!(std::io::stdout().lock(), "{text}");
}

/// What a command that failed says on stderr, and how it exits.
pub(crate) fn failed(error: &anyhow::Error) -> Exit {
    complain(&format!("{error:#}"));
    if error.is::<Refused>() {
        Exit::BadInput
    } else {
        Exit::Internal
    }
}

/// One line on stderr.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "anyedge: {text}");
}
