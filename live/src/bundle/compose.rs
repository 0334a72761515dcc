//! A machine's file for compose: the same command in a container, on the machine's own network.
//!
//! The command itself and the folder are mounted; the image only has to be of the same C library.

use serde_json::{Value, json};

use super::{Part, unit};
use crate::yaml;

/// The file's text.
pub(super) fn text(name: &str, part: &Part, arguments: &[String]) -> String {
    let words = arguments.iter().map(|word| match word.as_str() {
        "${STATE_DIRECTORY}" => "/var/lib/anyedge".to_owned(),
        word => word.to_owned(),
    });
    let command: Vec<String> = std::iter::once("anyedge".to_owned()).chain(words).collect();
    let mut service = json!({
        "image": "debian:stable-slim",
        "container_name": format!("anyedge-{name}"),
        "command": command,
        "working_dir": "/etc/anyedge",
        "network_mode": "host",
        "restart": "always",
        "read_only": true,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "volumes": [
            "/usr/local/bin/anyedge:/usr/local/bin/anyedge:ro",
            ".:/etc/anyedge:ro",
            "state:/var/lib/anyedge",
        ],
    });
    if *part == Part::Node {
        service["cap_add"] = json!(["NET_ADMIN", "NET_RAW"]);
        service["environment"] = json!([unit::BIG_PAGES]);
        service["devices"] = json!(["/dev/net/tun:/dev/net/tun"]);
    }
    let all = json!({
        "services": { "anyedge": service },
        "volumes": { "state": Value::Null },
    });
    yaml::text(&all)
}
