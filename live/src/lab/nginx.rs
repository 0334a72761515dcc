//! nginx as the backends of a lab: what strangers run, and a log that shows whose address arrived.
//!
//! It takes the place of the demo backend on every host, on the same addresses and TCP ports; each answers with who asked
//! and who it is. Datagrams, and bodies of a wanted length, are the demo backend's alone.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyedge_topologies::Topology;
use anyhow::Result;

use super::blueprint::{Blueprint, FilePlan};
use super::refused::refuse;
use super::state::folder_of;
use crate::backend::addresses_of;

/// Where it is where it is in nobody's PATH.
const USUAL: &str = "/usr/sbin/nginx";

/// Puts nginx in the place of the demo backends.
///
/// # Errors
/// When it is not installed.
pub fn serve_by_nginx(blueprint: &mut Blueprint, topology: &Topology) -> Result<()> {
    let Some(program) = program() else {
        refuse!(
            "nginx is not installed: apt-get install nginx-light, or leave out --backend nginx"
        );
    };
    let folder = folder_of(&blueprint.lab);
    for process in &mut blueprint.processes {
        let Some(host) = process.name.strip_prefix("backend.") else {
            continue;
        };
        let path = folder.join(format!("{}.nginx.conf", process.name));
        blueprint.files.push(FilePlan {
            text: configuration(&process.name, &addresses_of(topology, host), &folder),
            path: path.clone(),
        });
        let words = ["-c", &path.to_string_lossy(), "-e", "stderr"];
        process.arguments = words.map(str::to_owned).to_vec();
        process.program = Some(program.clone());
        process.control = None;
    }
    Ok(())
}

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::split_paths(&path).map(|folder| folder.join("nginx"));
    let mut all = named.chain([PathBuf::from(USUAL)]);
    all.find(|file| file.is_file())
}

fn configuration(name: &str, addresses: &[SocketAddr], folder: &Path) -> String {
    let own = folder.join(name);
    let own = own.display();
    let listens = addresses
        .iter()
        .map(|address| format!("    listen {address};\n"));
    let listens: String = listens.collect();
    format!(
        "daemon off;\n\
         user root;\n\
         worker_processes 1;\n\
         error_log stderr;\n\
         pid {own}.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         \x20 access_log /dev/stdout;\n\
         \x20 client_body_temp_path {own}.body;\n\
         \x20 proxy_temp_path {own}.proxy;\n\
         \x20 fastcgi_temp_path {own}.fastcgi;\n\
         \x20 uwsgi_temp_path {own}.uwsgi;\n\
         \x20 scgi_temp_path {own}.scgi;\n\
         \x20 server {{\n\
         {listens}\
         \x20   location / {{\n\
         \x20     default_type text/plain;\n\
         \x20     return 200 \"client $remote_addr:$remote_port\\nserver {name}\\n\";\n\
         \x20   }}\n\
         \x20 }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_listens_where_the_demo_backend_would() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let addresses = [address("10.0.0.11:8080"), address("[fd00:a::11]:8080")];
        let text = configuration("backend.web-1", &addresses, Path::new("/run/anyedge/demo"));
        for wanted in [
            "    listen 10.0.0.11:8080;\n",
            "    listen [fd00:a::11]:8080;\n",
            "pid /run/anyedge/demo/backend.web-1.pid;\n",
            "return 200 \"client $remote_addr:$remote_port\\nserver backend.web-1\\n\";",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
    }
}
