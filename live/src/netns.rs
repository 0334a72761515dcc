//! Named network namespaces, kept the way iproute2 keeps them: a bind mount of the namespace at `/run/netns/NAME`.
//!
//! So `ip netns` and our own lab see the same names. A namespace belongs to a thread, not to a process: everything
//! that must happen inside one runs on a short-lived thread that entered it ([`Namespace::run`]), and no thread ever
//! leaves the namespace it entered. A child started on such a thread lives in the namespace too.
//!
//! Invariant: a name in the directory is either mounted or in the hands of the one who holds the directory's lock.
//! Reference: setns(2), ip-netns(8).

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where iproute2 keeps the names.
const DIR: &str = "/run/netns";
/// The longest name: that of a file.
pub const NAME_LEN_MAX: usize = 255;

/// An open, named namespace. Dropping it closes the handle and leaves the namespace in place.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

/// What tells two namespaces apart, whatever they are called: device and inode of their handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

impl Namespace {
    /// Makes a new, empty namespace (nothing but a loopback that is down). An existing name is an error.
    pub fn create(name: &str) -> Result<Self> {
        let path = path_of(name)?;
        let _lock = share_directory()?;
        let placeholder = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path);
        match placeholder {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("network namespace `{name}` exists already")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        }
        let made = on_a_thread(|| unshare_onto(&path)).and_then(|()| Self::open(name));
        if made.is_err() {
            // The error that matters is the first one; what is left here is an empty file.
            let _ = umount2(&path, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&path);
        }
        made.with_context(|| format!("cannot make network namespace `{name}`"))
    }

    /// Opens a namespace by its name.
    pub fn open(name: &str) -> Result<Self> {
        let path = path_of(name)?;
        let file =
            File::open(&path).with_context(|| format!("there is no network namespace `{name}`"))?;
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// The name, as in `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The open handle, as netlink wants it when it moves a link here.
    pub fn handle(&self) -> &File {
        &self.file
    }

    /// Identity of the namespace, to compare with that of a process.
    pub fn id(&self) -> Result<NamespaceId> {
        id_of(
            &self
                .file
                .metadata()
                .with_context(|| format!("cannot look at network namespace `{}`", self.name))?,
        )
    }

    /// Runs `work` on a thread of its own inside the namespace and waits for it. Sockets and children that it makes
    /// stay in the namespace for ever.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter network namespace `{}`", self.name))?;
            work()
        })
    }
}

/// Removes the name. Links and addresses go when the last process inside has gone. `false`: there was no such name.
pub fn delete(name: &str) -> Result<bool> {
    let path = path_of(name)?;
    let _lock = share_directory()?;
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(false),
        // A name that nothing is mounted on was left by a crash between two steps of `create`.
        Err(Errno::EINVAL) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot unmount {}", path.display()));
        }
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// All names, sorted.
pub fn list() -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {DIR}")),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot list {DIR}"))?
            .file_name();
        names.extend(name.into_string());
    }
    names.sort();
    Ok(names)
}

/// The namespace that a process lives in; `None` when the process has gone.
pub fn id_of_process(pid: u32) -> Option<NamespaceId> {
    let metadata = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    id_of(&metadata).ok()
}

fn id_of(metadata: &fs::Metadata) -> Result<NamespaceId> {
    Ok(NamespaceId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn path_of(name: &str) -> Result<PathBuf> {
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains('/') || name.starts_with('.') {
        bail!("`{name}` cannot name a network namespace");
    }
    Ok(Path::new(DIR).join(name))
}

/// Makes the directory a shared mount, as `ip netns add` does, so that names appear in every mount namespace, and
/// holds its lock: two labs that start at once must not mount it twice.
fn share_directory() -> Result<Flock<File>> {
    fs::create_dir_all(DIR).with_context(|| format!("cannot make {DIR}"))?;
    let directory = File::open(DIR).with_context(|| format!("cannot open {DIR}"))?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("cannot lock {DIR}"))?;
    let none: Option<&str> = None;
    let share = || {
        mount(
            Some(""),
            DIR,
            Some("none"),
            MsFlags::MS_SHARED | MsFlags::MS_REC,
            none,
        )
    };
    match share() {
        Ok(()) => return Ok(lock),
        Err(Errno::EINVAL) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot share {DIR} (this needs root)"));
        }
    }
    mount(
        Some(DIR),
        DIR,
        Some("none"),
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .with_context(|| format!("cannot mount {DIR} on itself (this needs root)"))?;
    share().with_context(|| format!("cannot share {DIR}"))?;
    Ok(lock)
}

/// Gives the calling thread a new namespace and pins it at `path`.
fn unshare_onto(path: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot unshare (this needs root)")?;
    let none: Option<&str> = None;
    // The thread's own entry: /proc/self would be that of the main thread.
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        Some("none"),
        MsFlags::MS_BIND,
        none,
    )
    .with_context(|| format!("cannot mount the namespace at {}", path.display()))
}

/// Namespaces belong to threads: the thread ends with the work, so that nobody runs on in the wrong one.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .context("cannot start a thread")?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_directory_is_refused() {
        for name in ["", "a/b", "..", ".hidden", &"x".repeat(256)] {
            assert!(path_of(name).is_err(), "{name}");
        }
        assert!(path_of("anyedge-demo-pop.tokyo").is_ok());
    }
}
