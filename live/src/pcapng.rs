//! A pcapng file as it is written: interfaces with their names, and packets with their times to the nanosecond.
//!
//! All packets are IP packets without link headers (LINKTYPE_RAW). An interface may be added after packets of others.
//! Reference: draft-ietf-opsawg-pcapng.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

/// The largest IP packet.
pub const PACKET_BYTES_MAX: usize = 65_535;
/// The longest comment: what of an option's 16 bits of length is a multiple of 4.
const COMMENT_BYTES_MAX: usize = 65_532;

/// A capture into `W`.
pub struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: u32,
}

impl<W: Write> Capture<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// When `into` cannot be written.
    pub fn begin(into: W) -> io::Result<Capture<W>> {
        let writer = PcapNgWriter::new(into).map_err(as_io)?;
        Ok(Capture {
            writer,
            interfaces: 0,
        })
    }

    /// Adds an interface and gives its number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn interface(&mut self, name: &str) -> io::Result<u32> {
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: PACKET_BYTES_MAX as u32,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(as_io)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Adds a packet that an interface took in at `at`, counted from 1970.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn packet(
        &mut self,
        interface: u32,
        at: Duration,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> io::Result<()> {
        let comment = comment.map(|text| cut(text, COMMENT_BYTES_MAX));
        let comment = comment.map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text)));
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: at,
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(bytes),
            options: comment.into_iter().collect(),
        };
        self.writer.write_pcapng_block(block).map_err(as_io)?;
        Ok(())
    }

    /// What it is written into.
    pub fn get_mut(&mut self) -> &mut W {
        self.writer.get_mut()
    }
}

/// The first bytes of a text, whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let len = (0..=bytes_max.min(text.len())).rev();
    let mut whole = len.filter(|len| text.is_char_boundary(*len));
    &text[..whole.next().unwrap_or(0)]
}

fn as_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
