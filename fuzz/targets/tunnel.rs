//! What comes by a tunnel: GRE headers, the packets in them, and path probes.

use anyedge_ccn::probe::message;
use anyedge_ccn::tunnel;
use anyedge_net::packet::Pool;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::outer;
use anyedge_net::{checksum, wire};

use crate::input::Input;
use crate::sealing::seal;
use crate::wire::lend;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, tos) = (input.byte(), input.byte());
    if choice & 8 != 0 {
        return probe(choice, input);
    }
    let header = input.slice(usize::from(choice >> 4) * 4);
    let mut inner = input.rest().to_vec();
    seal(&mut inner, choice);
    let packet = [header, &inner[..]].concat();
    assert!(outer::header_bytes(&packet) <= packet.len());
    let Ok(read) = gre::parse(&packet) else {
        return;
    };
    assert!(read.header_len <= packet.len() && (4..=16).contains(&read.header_len));
    let mut pool = Pool::new(1);
    let mut lent = lend(&mut pool, &packet);
    lent.meta.tos = tos;
    if let Ok(out) = tunnel::decapsulate(&mut lent) {
        assert_eq!(Some(out.key), read.key);
        assert_eq!(wire::parse(lent.bytes()), Ok(out.parsed));
        assert_eq!(lent.len(), out.parsed.total_len, "no padding is left");
        let inner = lent.bytes().to_vec();
        let tos = tunnel::encapsulate(&mut lent, &out.parsed, out.key);
        lent.meta.tos = tos.expect("there is headroom");
        let again = tunnel::decapsulate(&mut lent).expect("it was encapsulated");
        assert_eq!((again.key, again.parsed), (out.key, out.parsed));
        assert_eq!(lent.bytes(), inner);
        let key = GreKey::new(out.key.clb_id(), out.key.hop(), out.key.slot());
        assert_eq!(key, out.key);
    }
    pool.take_back(lent);
}

/// A probe says what it said when it is written again.
fn probe(choice: u8, input: Input<'_>) {
    let mut bytes = input.rest().to_vec();
    if choice & 1 != 0 && bytes.len() >= message::LEN {
        let at = message::LEN - 2;
        bytes[at..message::LEN].fill(0);
        let check = checksum::internet(&bytes[..message::LEN]);
        bytes[at..message::LEN].copy_from_slice(&check.to_be_bytes());
    }
    if let Ok(probe) = message::parse(&bytes) {
        assert_eq!(message::parse(&probe.write()), Ok(probe));
        assert!(probe.multiplier > 0 && probe.my_discriminator != 0);
    }
}
