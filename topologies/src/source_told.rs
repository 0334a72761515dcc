//! `toa` and `proxy_protocol` of a listener: how its targets are told who the client is.
//!
//! Both are for TCP alone and off by default.

use anyedge_net::route_table::SourceTold;
use anyedge_net::wire::proxy::ProxyProtocol;
use anyedge_net::wire::toa::Toa;

use crate::clb::Protocol;
use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::reader::Reader;

/// Reads both keys of a listener of that protocol.
pub(crate) fn read(reader: &mut Reader<'_>, protocol: Option<Protocol>) -> SourceTold {
    let toa = reader.parse("toa", "\"254\"", |text| match text {
        "off" => Ok(None),
        "254" => Ok(Some(Toa::Kind254)),
        "200" => Ok(Some(Toa::Kind200)),
        _ => Err(one_of(text, "kind of TOA", &["off", "254", "200"])),
    });
    let proxy = reader.parse("proxy_protocol", "\"v2\"", |text| match text {
        "off" => Ok(None),
        "v1" => Ok(Some(ProxyProtocol::V1)),
        "v2" => Ok(Some(ProxyProtocol::V2)),
        _ => Err(one_of(
            text,
            "version of the PROXY protocol",
            &["off", "v1", "v2"],
        )),
    });
    let told = SourceTold {
        toa: toa.flatten(),
        proxy: proxy.flatten(),
    };
    if protocol == Some(Protocol::Udp) {
        for (key, is_on) in [
            ("toa", told.toa.is_some()),
            ("proxy_protocol", told.proxy.is_some()),
        ] {
            if let Some(field) = reader.field(key).filter(|_| is_on) {
                let reason = format!("a UDP listener has no {key}");
                reader.wrong_at(&field, Wrong::new(reason, "leave it out: it is for TCP"));
            }
        }
        return SourceTold::default();
    }
    told
}
