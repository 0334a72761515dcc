//! `anyedge sim --pcap DIR`: what links deliver, as one pcapng file for each link, written while the run goes on.
//!
//! Both directions of a link are interfaces of one file. A packet stands in it once, when it arrives, with a comment that
//! names its flow and what was decided about it; what was lost on the link does not. A file is open only while it is
//! written to, in pieces of [`BUFFER_BYTES`], so that neither memory nor open files grow with the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_live::pcapng::Capture;
use anyedge_net::time::Instant;
use anyedge_sim::watch::{Delivery, Watcher};

/// What is kept of each file in memory.
const BUFFER_BYTES: usize = 32 << 10;
/// What names of the management network's links begin with.
const MANAGED: &str = "management/";
/// Of a link's name in a file's.
const NAME_BYTES_MAX: usize = 150;

/// Captures of a run. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Captures(Arc<Mutex<Files>>);

struct Files {
    folder: PathBuf,
    files: Vec<LinkFile>,
    /// By the name of the link without its direction.
    by_link: BTreeMap<String, usize>,
    /// File and interface of each direction, by the number of the link.
    places: BTreeMap<usize, (usize, u32)>,
    names: BTreeSet<String>,
    failed: Option<String>,
}

/// The file of a link.
struct LinkFile {
    name: String,
    capture: Capture<Spool>,
}

/// What waits to be appended to a file.
struct Spool {
    path: PathBuf,
    waiting: Vec<u8>,
}

impl Spool {
    /// Begins an empty file.
    fn create(path: PathBuf) -> io::Result<Spool> {
        File::create(&path)?;
        Ok(Spool {
            path,
            waiting: Vec::with_capacity(BUFFER_BYTES),
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}

impl Captures {
    /// Captures into a folder, which is made if there is none.
    pub(crate) fn into(folder: &Path) -> Result<Captures, String> {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Captures(Arc::new(Mutex::new(Files {
            folder: folder.to_owned(),
            files: Vec::new(),
            by_link: BTreeMap::new(),
            places: BTreeMap::new(),
            names: BTreeSet::new(),
            failed: None,
        }))))
    }

    /// Writes what is still to be written; the first mistake of the whole run, if there was one.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let mut files = self.files();
        let Files { files, failed, .. } = &mut *files;
        for file in files {
            if let Err(error) = file.capture.get_mut().flush() {
                failed.get_or_insert_with(|| format!("{}: {error}", file.name));
            }
        }
        failed.take().map_or(Ok(()), Err)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Captures {
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        let mut files = self.files();
        if files.failed.is_some() {
            return;
        }
        if let Err(error) = files.write(delivery) {
            files.failed = Some(format!("the capture of {}: {error}", delivery.name));
        }
    }
}

impl Files {
    fn write(&mut self, delivery: &Delivery<'_>) -> io::Result<()> {
        let (file, interface) = match self.places.get(&delivery.link) {
            Some(place) => *place,
            None => self.place(delivery)?,
        };
        let at = delivery.at.since(Instant::ZERO);
        let comment = delivery.to_string();
        let capture = &mut self.files[file].capture;
        capture.packet(interface, at, delivery.bytes, Some(&comment))
    }

    /// The file of a link, and the interface of its direction there.
    fn place(&mut self, delivery: &Delivery<'_>) -> io::Result<(usize, u32)> {
        let link = both_ways(delivery.name);
        let file = match self.by_link.get(&link) {
            Some(file) => *file,
            None => self.begin(link)?,
        };
        let interface = self.files[file].capture.interface(delivery.name)?;
        self.places.insert(delivery.link, (file, interface));
        Ok((file, interface))
    }

    fn begin(&mut self, link: String) -> io::Result<usize> {
        let safe = safe_name(&link);
        let numbered = (2..).map(|number| format!("{safe}-{number}"));
        let mut names = std::iter::once(safe.clone()).chain(numbered);
        let free = names.find(|name| !self.names.contains(name));
        let name = format!("{}.pcapng", free.as_ref().unwrap_or(&safe));
        let spool = Spool::create(self.folder.join(&name))?;
        let capture = Capture::begin(spool)?;
        self.names.extend(free);
        self.files.push(LinkFile { name, capture });
        self.by_link.insert(link, self.files.len() - 1);
        Ok(self.files.len() - 1)
    }
}

/// The name of a link without its direction: `client.osaka>pop.tokyo` and the way back are one. Of several links between
/// two nodes, all but the first have a word of their own behind a slash; the management network's have theirs in front.
fn both_ways(name: &str) -> String {
    let (front, ends) = match name.strip_prefix(MANAGED) {
        Some(ends) => (MANAGED, ends),
        None => ("", name),
    };
    let Some((near, far)) = ends.split_once('>') else {
        return name.to_owned();
    };
    let is_nodes = !(far.starts_with("client.") || near.starts_with("router."));
    let (far, own) = match far.split_once('/') {
        Some((far, own)) if is_nodes => (far, format!("/{own}")),
        _ => (far, String::new()),
    };
    let (first, second) = if near <= far {
        (near, far)
    } else {
        (far, near)
    };
    format!("{front}{first}--{second}{own}")
}

/// What of a name any file system takes, whatever its case.
fn safe_name(link: &str) -> String {
    let safe = |letter: char| match letter {
        'a'..='z' | '0'..='9' | '-' | '_' | '.' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '_',
    };
    let name: String = link.chars().map(safe).take(NAME_BYTES_MAX).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() {
        "link".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_of_a_link_have_one_name() {
        for (one, other, name) in [
            (
                "client.osaka>pop.tokyo",
                "pop.tokyo>client.osaka",
                "client.osaka--pop.tokyo",
            ),
            (
                "client.osaka/gz>region.gz",
                "region.gz>client.osaka/gz",
                "client.osaka/gz--region.gz",
            ),
            (
                "pop.tokyo>region.gz/second",
                "region.gz>pop.tokyo/second",
                "pop.tokyo--region.gz/second",
            ),
            (
                "pop.tokyo/bgp>router.tokyo",
                "router.tokyo>pop.tokyo/bgp",
                "pop.tokyo/bgp--router.tokyo",
            ),
            (
                "management/pop.tokyo>region.gz",
                "management/region.gz>pop.tokyo",
                "management/pop.tokyo--region.gz",
            ),
            (
                "region.gz>region.gz",
                "region.gz>region.gz",
                "region.gz--region.gz",
            ),
        ] {
            assert_eq!(
                (both_ways(one), both_ways(other)),
                (name.into(), name.into())
            );
        }
    }

    #[test]
    fn a_files_name_is_safe_whatever_the_links_is() {
        for (link, name) in [
            ("client.osaka/gz--region.gz", "client.osaka_gz--region.gz"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "link"),
            ("", "link"),
            ("CON\u{0}\u{e9}\\", "con___"),
        ] {
            assert_eq!(safe_name(link), name);
        }
        assert_eq!(safe_name(&"x".repeat(9_999)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn however_much_is_written_little_of_it_waits_in_memory() {
        let path = std::env::temp_dir().join(format!("anyedge-spool-{}", std::process::id()));
        let mut spool = Spool::create(path.clone()).expect("the temporary folder can be written");
        let mut written = 0_u64;
        for number in 0..5_000_u32 {
            let piece = vec![number as u8; (number % 1_500) as usize];
            spool.write_all(&piece).expect("it can be appended to");
            written += piece.len() as u64;
            assert!(spool.waiting.capacity() <= 2 * BUFFER_BYTES);
        }
        spool.flush().expect("it can be appended to");
        let len = fs::metadata(&path).expect("it is there").len();
        fs::remove_file(&path).expect("it is ours");
        assert_eq!(len, written);
    }
}
