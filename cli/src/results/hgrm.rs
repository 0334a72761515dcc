//! Latencies as `.hgrm` files, two for each load: `osaka.0.hgrm` from when requests were due, `osaka.0.actual.hgrm` from
//! when they were sent.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyedge_sim::report::Report;
use anyedge_traffic::hgrm;

pub(super) fn write(folder: &Path, report: &Report) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for client in &report.clients {
        for (number, load) in client.loads.iter().enumerate() {
            let stats = &load.stats;
            for (latencies, ending) in [(stats.intended(), "hgrm"), (stats.actual(), "actual.hgrm")]
            {
                let name = format!("{}.{number}.{ending}", client.name);
                let written = File::create(folder.join(&name)).and_then(|file| {
                    let mut file = BufWriter::new(file);
                    hgrm::write(latencies, &mut file)?;
                    file.flush()
                });
                written.map_err(|error| format!("{name}: {error}"))?;
            }
        }
    }
    Ok(())
}
