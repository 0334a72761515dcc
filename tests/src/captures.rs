//! Real and hostile captures, read as frames: packets that broke other tools.
//!
//! They lie in `cases/pcap` of the data beside the checkout. Many are broken on purpose: reading a file ends at
//! the first thing that is no packet.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::dataset;

const ETHERTYPE_AT: usize = 12;

/// All capture files, by name; `None`, and a word on stderr, without the data.
pub fn all() -> Option<Vec<PathBuf>> {
    let entries =
        fs::read_dir(dataset::folder()?.join("cases/pcap")).expect("the data has captures");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "pcap" || kind == "pcapng")
        })
        .collect();
    paths.sort();
    Some(paths)
}

/// The frames of a capture with their link type. Many of the files are broken on purpose: reading ends there.
pub fn frames(path: &Path) -> Vec<(DataLink, Vec<u8>)> {
    let file = || File::open(path).expect("a readable capture");
    let mut frames = Vec::new();
    if let Ok(mut reader) = PcapReader::new(file()) {
        let link = reader.header().datalink;
        while let Some(Ok(packet)) = reader.next_packet() {
            frames.push((link, packet.data.into_owned()));
        }
        return frames;
    }
    let Ok(mut reader) = PcapNgReader::new(file()) else {
        return frames;
    };
    let mut links = Vec::new();
    while let Some(Ok(block)) = reader.next_block() {
        match block {
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                let link = links.get(packet.interface_id as usize);
                let link = link.copied().unwrap_or(DataLink::ETHERNET);
                frames.push((link, packet.data.into_owned()));
            }
            Block::SimplePacket(packet) => {
                let link = links.first().copied().unwrap_or(DataLink::ETHERNET);
                frames.push((link, packet.data.into_owned()));
            }
            _ => {}
        }
    }
    frames
}

/// The IP packet in a frame; whatever bytes there are for a link type that carries none.
pub fn network_layer(link: DataLink, frame: &[u8]) -> &[u8] {
    match link {
        DataLink::ETHERNET => {
            let mut at = ETHERTYPE_AT;
            while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
                at += 4; // one VLAN tag
            }
            frame.get(at + 2..).unwrap_or(&[])
        }
        DataLink::NULL | DataLink::LOOP => frame.get(4..).unwrap_or(&[]),
        DataLink::LINUX_SLL => frame.get(16..).unwrap_or(&[]),
        _ => frame,
    }
}
