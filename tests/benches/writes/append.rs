//! The loop that a log without a group would be: append, sync, again.

use core::time::Duration;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::processes::slowed;

const APPENDS: usize = 500;

/// What the bench is called with to be this loop, then the folder and the bytes.
pub(crate) const FLAG: &str = "--append";

/// How long one synced append of `bytes` takes, by the median, on a disk that is `sync_delay` microseconds slower.
pub(crate) fn median(folder: &Path, bytes: usize, sync_delay: u64) -> Duration {
    let own = std::env::current_exe().expect("it runs");
    let mut command = Command::new(own);
    command.arg(FLAG).arg(folder).arg(bytes.to_string());
    let output = slowed(command, sync_delay).output().expect("it can be run");
    let told = String::from_utf8(output.stdout).expect("it is a number");
    Duration::from_nanos(told.trim().parse().expect("it is a number"))
}

/// The loop itself: prints the median, in nanoseconds.
pub(crate) fn run(mut args: impl Iterator<Item = String>) {
    let folder = args.next().expect("a folder");
    let bytes = args.next().and_then(|bytes| bytes.parse().ok());
    let path = Path::new(&folder).join("appended");
    let mut file = File::create(&path).expect("a file of its own");
    let record = vec![0x5a; bytes.expect("how many")];
    let one = |_| {
        let began = Instant::now();
        file.write_all(&record).expect("there is room");
        file.sync_data().expect("the disk is sound");
        began.elapsed()
    };
    let mut took: Vec<Duration> = (0..APPENDS).map(one).collect();
    took.sort_unstable();
    std::fs::remove_file(path).expect("it is there");
    println!("{}", took[took.len() / 2].as_nanos());
}
