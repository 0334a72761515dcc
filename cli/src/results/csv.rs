//! The report as CSV in long format: one figure per row, with what it takes to tell runs apart.
//!
//! `topology,topology_hash,version,seed,digest,object,metric,value`. Objects are named as in the file, a load of a
//! population as `client.osaka load 0`; what belongs to none is of `run`. Metrics are the fields of the JSON, with dots.

use anyedge_sim::report::Report;
use csv::Writer;

use super::rows;

/// The whole file.
pub(super) fn text(report: &Report) -> Result<String, String> {
    let rows = rows::of(report)?;
    let seed = report.seed.to_string();
    let mut writer = Writer::from_writer(Vec::new());
    let own = [
        &report.topology,
        &report.topology_hash,
        report.version,
        &seed,
        &report.digest,
    ];
    let header = [
        "topology",
        "topology_hash",
        "version",
        "seed",
        "digest",
        "object",
        "metric",
        "value",
    ];
    let mut written = writer.write_record(header);
    for row in &rows {
        let value = row.figure.to_string();
        let figures = [row.object.as_str(), &row.metric, &value];
        let fields = own.iter().copied().chain(figures);
        written = written.and_then(|()| writer.write_record(fields));
    }
    written.map_err(|error| error.to_string())?;
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
