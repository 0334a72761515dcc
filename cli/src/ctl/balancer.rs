//! `ctl clb`: a load balancer with all that it is, as one page.

use anyedge_ccn::table::object::{Clb, Key, Kind, Kinded as _, Listener, SnatIp, Vip};
use anyedge_net::switch;
use anyedge_proto::control::v1::ReadOptions;
use serde_json::{Value, json};

use super::object_json::value;
use super::session::{Session, read};
use super::show as output;
use super::trouble::Trouble;

/// Shows the load balancer of that name.
pub(crate) async fn show(session: &Session, name: &str, as_json: bool) -> Result<(), Trouble> {
    let key = Key::new(Kind::Clb, name);
    let reply = session.client.get(ReadOptions::default(), &key).await?;
    let Some(entry) = reply.entry else {
        let message = format_args!("{key} does not exist");
        return Err(Trouble::refused(message, "anyedge ctl get clb"));
    };
    let (_, object) = read(&entry)?;
    let Some(clb) = Clb::of(&object) else {
        return Err(Trouble::failed(format_args!("{key} is something else")));
    };
    let vips = session.list(Kind::Vip, "").await?;
    let listeners = session.list(Kind::Listener, name).await?;
    let snat_ips = session.list(Kind::SnatIp, name).await?;
    let vips: Vec<&Vip> = vips.iter().filter_map(|(_, it)| Vip::of(it)).collect();
    let listeners: Vec<&Listener> = listeners
        .iter()
        .filter_map(|(_, it)| Listener::of(it))
        .collect();
    let snat_ips: Vec<&SnatIp> = snat_ips
        .iter()
        .filter_map(|(_, it)| SnatIp::of(it))
        .collect();
    let page = page(clb, &value(&object), (&vips, &listeners, &snat_ips));
    if as_json {
        return output::json(&page);
    }
    output::print(&output::card(&page))
}

/// What the page says. `own`: the load balancer's fields, some of which it shows as they are.
fn page(
    clb: &Clb,
    own: &Value,
    (vips, listeners, snat_ips): (&[&Vip], &[&Listener], &[&SnatIp]),
) -> Value {
    let vips = vips.iter().filter(|vip| vip.clb == clb.name);
    let announced = |vip: &&&Vip| !vip.withdrawn && !vip.publish.is_empty();
    let status = match (vips.clone().count(), vips.clone().filter(announced).count()) {
        (0, _) => "no VIP",
        (_, 0) => "withdrawn",
        _ => "announced",
    };
    let addresses = vips.flat_map(|vip| &vip.addresses).map(ToString::to_string);
    let of_clb = listeners.iter().filter(|it| it.clb == clb.name);
    let logged = of_clb.clone().filter(|it| it.access_log);
    let logged: Vec<&str> = logged.map(|it| it.name.as_str()).collect();
    let named: Vec<&str> = of_clb.map(|it| it.name.as_str()).collect();
    let snat_ips = snat_ips
        .iter()
        .filter(|it| it.clb == clb.name && switch::is_on("S-BE20"));
    json!({
        "name": clb.name, "id": format!("lb-{}", clb.name), "status": status,
        "vips": addresses.collect::<Vec<String>>(), "type": own["type"], "region": clb.region,
        "network": own["network"], "ip_version": own["ip_version"],
        "isp": if clb.isp.is_empty() { "BGP" } else { &clb.isp },
        "listeners": named, "access_log": logged, "cross_region": own["cross_region"],
        "snat_ips": snat_ips.map(|it| it.address.to_string()).collect::<Vec<String>>(),
    })
}

#[cfg(test)]
mod tests {
    use anyedge_ccn::table::object::Object;

    use super::*;

    #[test]
    fn the_page_has_what_belongs_to_the_load_balancer_and_nothing_of_others() {
        let clb = Clb::new("gz-main", "guangzhou");
        let of = |name: &str| SnatIp {
            clb: name.to_owned(),
            address: "10.0.9.1".parse().expect("an address"),
        };
        let web = Listener::new(
            "gz-main",
            "web",
            anyedge_ccn::table::object::Protocol::Tcp,
            80,
        );
        let (own, other) = (of("gz-main"), of("else"));
        let shown = page(
            &clb,
            &value(&Object::Clb(clb.clone())),
            (&[], &[&web], &[&own, &other]),
        );
        assert_eq!(shown["id"], "lb-gz-main");
        assert_eq!(shown["status"], "no VIP");
        assert_eq!(shown["isp"], "BGP");
        assert_eq!(shown["type"], "internal");
        assert_eq!(shown["listeners"], json!(["web"]));
        assert_eq!(shown["snat_ips"], json!(["10.0.9.1"]), "one of two");
    }
}
