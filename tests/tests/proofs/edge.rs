//! The smallest edge: one POP, one region, one listener and one client, with nothing else on the wires.

/// What a proof asks of it.
pub(super) struct Edge<'a> {
    /// Keys at the top.
    pub(super) top: &'a str,
    /// More defaults.
    pub(super) defaults: &'a str,
    /// Round trip of the backbone link.
    pub(super) rtt: &'a str,
    /// `tick` or `web`: the listener's name, and that of its targets.
    pub(super) listener: &'a str,
    /// Of the listener.
    pub(super) port: &'a str,
    /// Keys of `client.osaka`, and tables behind it.
    pub(super) client: &'a str,
}

impl Edge<'_> {
    /// As a topology.
    pub(super) fn text(&self) -> String {
        let Edge {
            top,
            defaults,
            rtt,
            listener,
            port,
            client,
        } = self;
        format!(
            "schema = 1
{top}
[defaults]
routes = \"static\"
probe = false
bgp = false
{defaults}
[vip.game]
address = \"203.0.113.10\"
clb = \"main\"
[pop.tokyo]
[region.guangzhou]
[link.tokyo-guangzhou]
between = [\"pop.tokyo\", \"region.guangzhou\"]
rtt = \"{rtt}\"
[clb.main]
region = \"guangzhou\"
listener.{listener} = {{ port = \"{port}\", targets = \"{listener}\" }}
[targets.{listener}]
port = 7000
servers = [{{ ip = \"10.0.0.11\" }}]
[client.osaka]
{client}
"
        )
    }
}
