//! The format: its bytes, its sizes, and that no bytes do harm.

use proptest::prelude::*;

use super::*;

const STATES: [TcpState; 7] = [
    TcpState::SynSent,
    TcpState::SynReceived,
    TcpState::Established,
    TcpState::ClientClosed,
    TcpState::TargetClosed,
    TcpState::Closing,
    TcpState::Reset,
];

fn message(items: &[Item]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    write_header(&mut bytes, items.len() as u16);
    items.iter().for_each(|item| item.write(&mut bytes));
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Item>, MessageError> {
    Items::of(bytes)?.collect()
}

fn any_address(v6: bool) -> BoxedStrategy<Address> {
    if v6 {
        any::<[u8; 16]>().prop_map(Address::v6).boxed()
    } else {
        any::<[u8; 4]>().prop_map(Address::v4).boxed()
    }
}

fn any_entry() -> impl Strategy<Value = Item> {
    let tcp = proptest::option::of(proptest::sample::select(STATES.to_vec()));
    any::<bool>().prop_flat_map(move |v6| {
        let addresses = (any_address(v6), any_address(v6), any_address(v6));
        let numbers = any::<(u16, u16, u16, u16, u32, u16)>();
        (addresses, numbers, tcp.clone(), any::<bool>()).prop_map(
            |((src, dst, target), numbers, tcp, claimed)| {
                let (src_port, dst_port, target_port, slot, isn, pop) = numbers;
                let protocol = if tcp.is_some() {
                    tcp::PROTOCOL
                } else {
                    udp::PROTOCOL
                };
                Item::Entry(FlowEntry {
                    key: FlowKey {
                        src,
                        dst,
                        src_port,
                        dst_port,
                        protocol,
                    },
                    target,
                    target_port,
                    slot,
                    isn,
                    pop: PopTag(pop),
                    tcp,
                    claimed,
                })
            },
        )
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    let state = (
        any::<u64>(),
        proptest::option::of(proptest::sample::select(STATES.to_vec())),
    )
        .prop_map(|(hash, stand)| Item::State { hash, stand });
    prop_oneof![any_entry(), state]
}

#[test]
fn an_ordinary_flow_costs_45_bytes_over_ipv4_and_81_over_ipv6() {
    let states = 2 * STATE_LEN;
    assert_eq!(ENTRY_V4_LEN + states, 45);
    assert_eq!(ITEM_LEN_MAX + states, 81);
}

#[test]
fn the_bytes_of_an_entry_and_of_a_state_are_these() {
    let entry = Item::Entry(FlowEntry {
        key: FlowKey {
            src: Address::v4([1, 2, 3, 4]),
            dst: Address::v4([5, 6, 7, 8]),
            src_port: 0x0910,
            dst_port: 0x1112,
            protocol: tcp::PROTOCOL,
        },
        target: Address::v4([19, 20, 21, 22]),
        target_port: 0x2324,
        slot: 0x2526,
        isn: 0x2728_2930,
        pop: PopTag(0x3132),
        tcp: Some(TcpState::SynSent),
        claimed: true,
    });
    let state = Item::State {
        hash: 0x4142_4344_4546_4748,
        stand: None,
    };
    let mut expected = vec![1, 0, 0, 2];
    expected.extend_from_slice(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x11, 0x12]);
    expected.extend_from_slice(&[19, 20, 21, 22, 0x23, 0x24, 0x25, 0x26]);
    expected.extend_from_slice(&[0x27, 0x28, 0x29, 0x30, 0x31, 0x32]);
    expected.extend_from_slice(&[0x88, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]);
    assert_eq!(message(&[entry, state]), expected);
    assert_eq!(expected.len(), HEADER_LEN + ENTRY_V4_LEN + STATE_LEN);
}

#[test]
fn what_is_cut_too_long_or_of_another_version_is_refused() {
    let whole = message(&[Item::State {
        hash: 7,
        stand: Some(TcpState::Closing),
    }]);
    for len in 0..whole.len() {
        assert_eq!(read(&whole[..len]), Err(MessageError::Length), "{len}");
    }
    assert_eq!(
        read(&[&whole[..], &[0]].concat()),
        Err(MessageError::Length)
    );
    let with = |at: usize, byte| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        read(&bytes)
    };
    assert_eq!(with(0, 2), Err(MessageError::Version));
    for head in [0xc0, 0x90, 0x80, 0x89, 0x8f] {
        assert_eq!(with(HEADER_LEN, head), Err(MessageError::Item), "{head:x}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(items in proptest::collection::vec(any_item(), 0..40)) {
        let bytes = message(&items);
        prop_assert!(bytes.len() <= HEADER_LEN + items.len() * ITEM_LEN_MAX);
        prop_assert_eq!(read(&bytes), Ok(items));
    }

    #[test]
    fn random_bytes_never_panic_and_always_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(version) = bytes.first_mut() {
            *version &= 1;
        }
        if let Ok(items) = Items::of(&bytes) {
            prop_assert!(items.count() <= bytes.len());
        }
    }
}
