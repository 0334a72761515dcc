//! What any node needs of its machine: rights, the TUN driver, settings of the kernel, descriptors, a clock that is right.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::libc;

use super::{Finding, Patient};

const TUN: &str = "/dev/net/tun";
/// Descriptors for connections, devices and files.
const FILES_MIN: u64 = 4_096;
/// `_IOR('T', 207, unsigned int)`: which flags the TUN driver knows.
const TUNGETFEATURES: libc::Ioctl = 0x8004_54cf_u32 as libc::Ioctl;

/// Looks at the machine. Whether packets must be forwarded depends on the node.
pub(super) fn examine(patient: Option<&Patient>) -> Vec<Finding> {
    let mut findings = vec![capabilities(), tun(), offload(), rp_filter()];
    if patient.is_none_or(Patient::is_pop) {
        findings.push(forwarding("ipv4", "ipv4/ip_forward", "net.ipv4.ip_forward"));
        let ipv6 = "net.ipv6.conf.all.forwarding";
        findings.push(forwarding("ipv6", "ipv6/conf/all/forwarding", ipv6));
    }
    findings.extend([open_files(), clock()]);
    findings
}

fn capabilities() -> Finding {
    let check = "capabilities";
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let missing = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
    let missing = missing.iter().filter(|wanted| !permitted.contains(wanted));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if missing.is_empty() {
        return Finding::well(check, "CAP_NET_ADMIN and CAP_NET_RAW");
    }
    let own = std::env::current_exe().unwrap_or_else(|_| "anyedge".into());
    let says = format!("{} missing", missing.join(" and "));
    let fix = format!(
        "start it as root (it drops the rest), or: setcap cap_net_admin,cap_net_raw+ep {}",
        own.display()
    );
    Finding::bad(check, says, fix)
}

fn open_tun() -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(TUN)
}

fn tun() -> Finding {
    match open_tun() {
        Ok(_) => Finding::well("tun", TUN),
        Err(error) => {
            let fix = match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) => {
                    "modprobe tun; in a container also: --device /dev/net/tun".to_owned()
                }
                Some(Errno::EACCES | Errno::EPERM) => format!("chmod 0666 {TUN}"),
                _ => "modprobe tun".to_owned(),
            };
            Finding::bad("tun", format!("{TUN}: {error}"), fix)
        }
    }
}

fn offload() -> Finding {
    let check = "offload";
    let Ok(device) = open_tun() else {
        return Finding::warning(
            check,
            "not to be seen without the TUN driver",
            "modprobe tun",
        );
    };
    match features(&device) {
        Ok(flags) if flags & libc::IFF_VNET_HDR as u32 != 0 => {
            Finding::well(check, "the TUN driver takes super-packets (IFF_VNET_HDR)")
        }
        Ok(_) => Finding::warning(
            check,
            "the TUN driver takes single packets alone: some 1 Gbit/s instead of 10",
            "a kernel with CONFIG_TUN and virtio headers, such as any distribution's",
        ),
        Err(error) => Finding::warning(check, format!("cannot tell: {error}"), "none needed"),
    }
}

#[expect(
    unsafe_code,
    reason = "no crate here knows this question to the driver"
)]
fn features(device: &File) -> nix::Result<u32> {
    let mut flags: libc::c_uint = 0;
    // SAFETY: the driver writes one unsigned int to the pointer, which is to one that lives; the descriptor is open.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), TUNGETFEATURES, &raw mut flags) };
    Errno::result(answer).map(|_| flags)
}

fn setting(key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/net/{key}")).ok()?;
    Some(text.trim().to_owned())
}

fn rp_filter() -> Finding {
    let check = "rp_filter";
    match setting("ipv4/conf/all/rp_filter").as_deref() {
        Some("1") => Finding::bad(
            check,
            "strict: the kernel drops packets whose way back is another, as anycast has them",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        ),
        Some(value) => Finding::well(check, format!("not strict ({value})")),
        None => Finding::warning(check, "cannot be read", "mount /proc"),
    }
}

fn forwarding(family: &str, key: &str, name: &str) -> Finding {
    let check = "forwarding";
    match setting(key).as_deref() {
        Some("0") => Finding::bad(
            check,
            format!("{family} is not forwarded, and a POP gets its clients' packets so"),
            format!("sysctl -w {name}=1"),
        ),
        Some(_) => Finding::well(check, format!("{family} is forwarded")),
        None => Finding::warning(check, format!("the kernel has no {family}"), "none needed"),
    }
}

fn open_files() -> Finding {
    let check = "nofile";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match soft {
        Some(soft) if soft < FILES_MIN => Finding::warning(
            check,
            format!("{soft} files at a time, of {FILES_MIN} that a busy node may want"),
            "ulimit -n 65536, or LimitNOFILE=65536 in its unit",
        ),
        Some(soft) => Finding::well(check, format!("{soft} files at a time")),
        None => Finding::well(check, "no limit"),
    }
}

/// Certificates begin and end by the clock, and logs of several machines are compared by it.
fn clock() -> Finding {
    let check = "clock";
    match clock_error() {
        Ok(Some(micros)) => Finding::well(
            check,
            format!("synchronised, {} ms off at most", micros.div_ceil(1_000)),
        ),
        Ok(None) => Finding::warning(
            check,
            "nothing keeps it right: certificates begin and end by it",
            "systemctl enable --now systemd-timesyncd (or chrony)",
        ),
        Err(error) => Finding::warning(check, format!("cannot tell: {error}"), "none needed"),
    }
}

/// How far off the clock may be at most, in microseconds; `None` when nothing keeps it.
#[expect(unsafe_code, reason = "no crate here asks for the clock's state")]
fn clock_error() -> nix::Result<Option<u64>> {
    // SAFETY: all zeroes are a valid `timex`, which asks for nothing to be changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads and writes the one value that the pointer is to.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    Errno::result(answer)?;
    let is_kept = answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    Ok(is_kept.then(|| u64::try_from(state.maxerror).unwrap_or_default()))
}
