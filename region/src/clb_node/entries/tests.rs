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
    items.iter().for_each(|item| item.write(&mut bytes));
    write_header(&mut bytes, items.len() as u16);
    bytes
}

/// The same bytes with a checksum that is right, if they are long enough for one.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= HEADER_LEN {
        bytes[CHECKSUM_AT..HEADER_LEN].fill(0);
        let check = checksum::internet(&bytes).to_be_bytes();
        bytes[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&check);
    }
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

/// A target for clients of that family, and whom it takes for the client.
fn any_target(v6: bool) -> BoxedStrategy<(Address, Option<Source>)> {
    let source = (any::<[u8; 4]>(), any::<u16>());
    let source = source.prop_map(|(address, port)| Some(Source::new(address, port)));
    let direct = (any_address(v6), Just(None));
    if v6 {
        prop_oneof![direct, (any_address(false), source)].boxed()
    } else {
        direct.boxed()
    }
}

fn any_entry() -> impl Strategy<Value = Item> {
    let tcp = proptest::option::of(proptest::sample::select(STATES.to_vec()));
    any::<bool>().prop_flat_map(move |v6| {
        let addresses = (any_address(v6), any::<u32>(), any_target(v6));
        let numbers = any::<(u16, u16, u16, u16, u32, u16)>();
        let proxy =
            proptest::sample::select(vec![None, Some(ProxyProtocol::V1), Some(ProxyProtocol::V2)]);
        (addresses, numbers, tcp.clone(), any::<bool>(), proxy).prop_map(
            |((client, vip, (target, source)), numbers, tcp, claimed, proxy)| {
                let (client_port, vip_port, target_port, slot, isn, pop) = numbers;
                Item::Entry(FlowEntry {
                    client,
                    client_port,
                    vip: VipTag(vip),
                    vip_port,
                    target,
                    target_port,
                    source,
                    slot,
                    isn,
                    pop: PopTag(pop),
                    tcp,
                    claimed,
                    proxy,
                })
            },
        )
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    let state = (
        0..=HASH_MARK,
        proptest::option::of(proptest::sample::select(STATES.to_vec())),
    )
        .prop_map(|(hash, stand)| Item::State { hash, stand });
    prop_oneof![any_entry(), state, any_load()]
}

fn any_load() -> impl Strategy<Value = Item> {
    let server = prop_oneof![
        any::<[u8; 4]>().prop_map(Address::v4),
        any::<[u8; 16]>().prop_map(Address::v6),
    ];
    let listener = (any::<u32>(), any::<u8>(), any::<u16>());
    let load = (listener, server, any::<u16>(), any::<u32>());
    load.prop_map(|((clb, protocol, port), server, server_port, flows)| {
        Item::Load(Load {
            clb: ClbTag(clb),
            protocol,
            port,
            server: (server, server_port),
            flows,
        })
    })
}

#[test]
fn an_ordinary_flow_costs_39_bytes_over_ipv4_and_63_over_ipv6() {
    let states = 2 * STATE_LEN;
    assert_eq!(ENTRY_V4_LEN + states, 39);
    assert_eq!(ITEM_LEN_MAX - 1 + states, 63);
}

#[test]
fn the_bytes_of_an_entry_and_of_a_state_are_these() {
    let entry = FlowEntry {
        client: Address::v4([1, 2, 3, 4]),
        client_port: 0x0910,
        vip: VipTag(0x0506_0708),
        vip_port: 0x1112,
        target: Address::v4([19, 20, 21, 22]),
        source: None,
        target_port: 0x2324,
        slot: 0x2526,
        isn: 0x2728_2930,
        pop: PopTag(0x3132),
        tcp: Some(TcpState::SynSent),
        claimed: true,
        proxy: None,
    };
    let headed = Item::Entry(FlowEntry {
        proxy: Some(ProxyProtocol::V2),
        ..entry
    });
    let entry = Item::Entry(entry);
    let state = Item::State {
        hash: 0x44_4546_4748,
        stand: None,
    };
    let mut expected = vec![2, 0, 0, 2, 0, 0];
    expected.extend_from_slice(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x11, 0x12]);
    expected.extend_from_slice(&[19, 20, 21, 22, 0x23, 0x24, 0x25, 0x26]);
    expected.extend_from_slice(&[0x27, 0x28, 0x29, 0x30, 0x31, 0x32]);
    expected.extend_from_slice(&[0x88, 0x44, 0x45, 0x46, 0x47, 0x48]);
    assert_eq!(message(&[entry, state]), summed(expected.clone()));
    assert_eq!(expected.len(), HEADER_LEN + ENTRY_V4_LEN + STATE_LEN);
    let headed = message(&[headed]);
    assert_eq!(headed.len(), HEADER_LEN + ENTRY_V4_LEN + 1);
    assert_eq!((headed[HEADER_LEN], headed.last()), (0x31, Some(&2)));
}

#[test]
fn what_is_cut_too_long_or_of_another_version_is_refused() {
    let whole = message(&[Item::State {
        hash: 7,
        stand: Some(TcpState::Closing),
    }]);
    for len in 0..whole.len() {
        let cut = summed(whole[..len].to_vec());
        assert_eq!(read(&cut), Err(MessageError::Length), "{len}");
    }
    let long = summed([&whole[..], &[0]].concat());
    assert_eq!(read(&long), Err(MessageError::Length));
    let with = |at: usize, byte| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        read(&summed(bytes))
    };
    assert_eq!(with(0, 1), Err(MessageError::Version));
    for head in [0xc2, 0xe0, 0x90, 0x80, 0x89, 0x8f] {
        assert_eq!(with(HEADER_LEN, head), Err(MessageError::Item), "{head:x}");
    }
}

#[test]
fn one_bit_that_flips_anywhere_makes_a_message_none() {
    let state = |hash| Item::State { hash, stand: None };
    let whole = message(&[state(1), state(HASH_MARK), state(0)]);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 {
            MessageError::Version
        } else {
            MessageError::Checksum
        };
        assert_eq!(read(&bytes), Err(expected), "bit {bit}");
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
            *version = VERSION;
        }
        for bytes in [bytes.clone(), summed(bytes)] {
            if let Ok(items) = Items::of(&bytes) {
                prop_assert!(items.count() <= bytes.len());
            }
        }
    }
}
