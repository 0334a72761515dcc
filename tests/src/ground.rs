//! What tests of the control plane stand on: two POPs, a region and a service, as the text of a topology file.
//!
//! It is no subject of theirs, so it stands here once; who controls it, and what strikes it, comes before and after.

/// POPs at Tokyo and Osaka with round trips of `rtts` to Guangzhou, which has so many CLB nodes, and one load balancer
/// with `servers` targets.
pub fn ground(rtts: [&str; 2], clb_nodes: usize, servers: usize) -> String {
    let [tokyo, osaka] = rtts;
    let servers = (0..servers).map(|number| format!("{{ ip = \"10.0.0.{}\" }}", 11 + number));
    let servers: Vec<String> = servers.collect();
    format!(
        r#"
[vip.game]
address = "203.0.113.10"
publish = ["tokyo", "osaka"]
clb = "main"

[pop.tokyo]
[pop.osaka]
[region.guangzhou]
clb_nodes = {clb_nodes}
[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "{tokyo}"
[link.osaka-guangzhou]
between = ["pop.osaka", "region.guangzhou"]
rtt = "{osaka}"

[clb.main]
region = "guangzhou"
listener.web = {{ port = "tcp/80", scheduler = "wrr", targets = "web" }}

[targets.web]
port = 8080
servers = [{}]

"#,
        servers.join(", ")
    )
}
