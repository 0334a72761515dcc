//! A machine's unit for systemd: started when the network is there, started again when it fails, and fenced in.
//!
//! The two capabilities of a node are all that it can ever have; it sees no home, no other processes, and writes to its
//! own state alone. Reference: systemd.exec(5).

use super::Part;

/// What the C library is told in a node's environment: to ask for huge pages. The flows of a busy node are all over its
/// memory, and with ordinary pages each look-up walks the page tables as well.
/// Reference: glibc manual, "Memory-related tunables", `glibc.malloc.hugetlb`; other C libraries pay no heed.
pub(super) const BIG_PAGES: &str = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";

/// The unit's text.
pub(super) fn text(name: &str, part: &Part, arguments: &[String]) -> String {
    let (capabilities, devices, kind, kernel) = match part {
        Part::Node => (
            "CAP_NET_ADMIN CAP_NET_RAW",
            "DevicePolicy=closed\nDeviceAllow=/dev/net/tun rw",
            "notify",
            // A node sets what its own TUN needs of it.
            "no",
        ),
        Part::Controller(..) => ("", "PrivateDevices=yes", "exec", "yes"),
    };
    let reload = match part {
        Part::Node => "ExecReload=/bin/kill -HUP $MAINPID\n",
        Part::Controller(..) => "",
    };
    let environment = match part {
        Part::Node => format!("Environment={BIG_PAGES}\n"),
        Part::Controller(..) => String::new(),
    };
    let arguments = arguments.join(" ");
    format!(
        "[Unit]\n\
         Description=anyedge {name}\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type={kind}\n\
         WorkingDirectory=/etc/anyedge\n\
         ExecStart=/usr/local/bin/anyedge {arguments}\n\
         {environment}{reload}\
         Restart=always\n\
         RestartSec=1\n\
         TimeoutStopSec=5\n\
         LimitNOFILE=65536\n\
         StateDirectory=anyedge\n\
         StateDirectoryMode=0700\n\
         UMask=0077\n\
         CapabilityBoundingSet={capabilities}\n\
         AmbientCapabilities={capabilities}\n\
         NoNewPrivileges=yes\n\
         {devices}\n\
         ProtectSystem=strict\n\
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         ProtectProc=invisible\n\
         ProtectClock=yes\n\
         ProtectControlGroups=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables={kernel}\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         SystemCallArchitectures=native\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_two_capabilities_and_a_controller_none() {
        let words = [
            "node".to_owned(),
            "--name".to_owned(),
            "pop.tokyo".to_owned(),
        ];
        let node = text("pop.tokyo", &Part::Node, &words);
        let own = "\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW\n";
        assert!(node.contains(own), "{node}");
        assert!(node.contains("\nExecStart=/usr/local/bin/anyedge node --name pop.tokyo\n"));
        let pages = "\nEnvironment=GLIBC_TUNABLES=glibc.malloc.hugetlb=1\n";
        assert!(node.contains(pages), "{node}");
        let address = "10.0.0.1:7300".parse().expect("an address");
        let controller = text("controller.a", &Part::Controller(1, address), &words);
        assert!(
            controller.contains("\nCapabilityBoundingSet=\n"),
            "{controller}"
        );
        assert!(!controller.contains("Environment"), "{controller}");
        for unit in [node, controller] {
            for wanted in ["NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"] {
                assert!(unit.contains(wanted), "{wanted}");
            }
        }
    }
}
