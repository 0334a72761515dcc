//! `ip_version` and `snat` of a load balancer: clients of IPv6 at targets of IPv4.

use std::net::Ipv4Addr;

use anyedge_ccn::table::object::IpVersion;

use crate::clb::ReturnBy;
use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::reader::Reader;

/// SNAT addresses of a load balancer (P-SA06).
const ADDRESSES_MAX: usize = 10;

/// Reads `ip_version = "nat64"` with `snat = ["10.0.9.1"]`.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    return_by: Option<ReturnBy>,
) -> (IpVersion, Vec<Ipv4Addr>) {
    let field = reader.field("ip_version");
    let version = reader.parse("ip_version", "\"nat64\"", |text| match text {
        "dual" => Ok(IpVersion::Dual),
        "nat64" => Ok(IpVersion::Nat64),
        _ => Err(one_of(text, "IP version", &["dual", "nat64"])),
    });
    let version = version.unwrap_or(IpVersion::Dual);
    let snat = reader.field("snat");
    let addresses = addresses(reader);
    let wrong = |reason: &str, hint: &str| Wrong::new(reason, hint);
    match (version, field, snat) {
        (IpVersion::Nat64, Some(field), None) => {
            let hint = "snat = [\"10.0.9.1\"]: addresses of its own network, 10 at most";
            reader.wrong_at(&field, wrong("NAT64 needs addresses to send from", hint));
        }
        (IpVersion::Nat64, Some(field), Some(_)) if return_by == Some(ReturnBy::Route) => {
            let reason = "answers to SNAT addresses come by the vSwitch alone";
            reader.wrong_at(&field, wrong(reason, "leave `return` out"));
        }
        (IpVersion::Nat64, ..) | (_, _, None) => {}
        (_, _, Some(snat)) => {
            let hint = "ip_version = \"nat64\", or leave it out";
            reader.wrong_at(&snat, wrong("SNAT addresses serve NAT64 alone", hint));
        }
    }
    (version, addresses)
}

fn addresses(reader: &mut Reader<'_>) -> Vec<Ipv4Addr> {
    let example = "[\"10.0.9.1\"]";
    let mut addresses = Vec::new();
    for field in reader.list("snat", example).unwrap_or_default() {
        let address = reader.parse_field(&field, "\"10.0.9.1\"", |text| {
            let hint = "an IPv4 address such as \"10.0.9.1\"";
            let address: Ipv4Addr = text
                .parse()
                .map_err(|_| Wrong::new(format!("\"{text}\" is no IPv4 address"), hint))?;
            if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
                return Err(Wrong::new(format!("{address} is no single host's"), hint));
            }
            if addresses.contains(&address) {
                return Err(Wrong::new(format!("{address} is there twice"), "each once"));
            }
            if addresses.len() == ADDRESSES_MAX {
                return Err(Wrong::new("an 11th SNAT address", "10 at most"));
            }
            Ok(address)
        });
        addresses.extend(address);
    }
    addresses
}
