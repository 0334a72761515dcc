//! Any commands in any order: refused ones change nothing, followers end where the leader does, and bytes keep all.

use proptest::prelude::*;

use super::*;
use anyedge_proto::table::v1 as pb;
use prost::Message as _;

/// A few targets of a few listeners.
fn any_targets() -> BoxedStrategy<Vec<Target>> {
    let ip = (10_u8..14).prop_map(|last| format!("10.0.0.{last}"));
    let parent = prop_oneof![
        Just("gz-main/web"),
        Just("gz-main/tick"),
        Just("gz-main/site/shop"),
        Just("new/web")
    ];
    let port = prop_oneof![Just(80_u32), Just(8_080), Just(0)];
    let target = (parent, ip, port, -1..102_i32).prop_map(|(parent, ip, port, weight)| Target {
        weight,
        ..target(parent, &ip, port)
    });
    proptest::collection::vec(target, 1..4).boxed()
}

/// A group that is there or changes, and servers that join and leave it.
fn any_scaling() -> BoxedStrategy<Change> {
    let servers = proptest::collection::vec(12_u8..16, 0..3).prop_map(|all| {
        let server = |last| autoscaling::server(&format!("10.0.0.{last}"));
        all.into_iter().map(server).collect::<Vec<_>>()
    });
    let put = (servers.clone(), any::<bool>()).prop_map(|(servers, both)| {
        let listeners = ["gz-main/web", "gz-main/l-1"];
        let group = autoscaling::group(&listeners[..=usize::from(both)]);
        ensure(AutoScalingGroup { servers, ..group })
    });
    let scale = (servers.clone(), servers).prop_map(|(joins, leaves)| Change::Scale {
        group: "as".to_owned(),
        joins,
        leaves: leaves.into_iter().map(|server| server.address).collect(),
    });
    prop_oneof![put, scale].boxed()
}

/// A change of a few objects, so that changes meet; many of them make no sense.
fn any_change() -> impl Strategy<Value = Change> {
    let weight = -1..102_i32;
    let targets = any_targets();
    let names = targets
        .clone()
        .prop_map(|all| all.iter().map(Target::full_name).collect::<Vec<_>>());
    let node = prop_oneof![
        Just(CLB_1.to_owned()),
        Just("region.guangzhou.clb-2".to_owned()),
        Just("none".to_owned())
    ];
    let membership = prop_oneof![
        Just(Membership::In),
        Just(Membership::Lost),
        Just(Membership::Drained)
    ];
    let listener = (
        1..5_u32,
        prop_oneof![
            Just(Protocol::Tcp),
            Just(Protocol::Udp),
            Just(Protocol::Quic)
        ],
    )
        .prop_map(|(number, protocol)| {
            Listener::new("gz-main", &format!("l-{number}"), protocol, 79 + number)
        });
    let key = prop_oneof![
        Just(Key::new(Kind::Clb, "new")),
        Just(Key::new(Kind::Listener, "gz-main/l-1")),
        Just(Key::new(Kind::Host, "host.web-1")),
        Just(Key::new(Kind::Path, "tokyo-guangzhou")),
        Just(Key::new(Kind::Vip, "game")),
        Just(Key::new(Kind::AutoScalingGroup, "as")),
    ];
    prop_oneof![
        any_scaling(),
        targets.prop_map(Change::RegisterTargets),
        names.clone().prop_map(Change::DeregisterTargets),
        (names.clone(), weight.clone())
            .prop_map(|(names, weight)| Change::SetTargetWeight(names, weight)),
        (names, 0..3_u32).prop_map(|(names, port)| Change::SetTargetPort(names, port)),
        (
            node,
            proptest::option::of(membership),
            proptest::option::of(weight)
        )
            .prop_map(|(clb_node, membership, weight)| Change::SetMember {
                clb_node,
                membership,
                weight
            }),
        listener.prop_map(ensure),
        key.prop_map(Change::Remove),
        Just(create(Clb::new("new", "guangzhou"))),
        Just(create(Listener::new("new", "web", Protocol::Tcp, 80))),
        (any::<bool>()).prop_map(|on| Change::SetDraining(Key::new(Kind::Pop, "pop.tokyo"), on)),
        Just(Change::ApplyStage("s".to_owned())),
        Just(Change::Settle),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let one = any_change();
    let some = proptest::collection::vec(any_change(), 1..4).boxed();
    let stage = |changes: Vec<Change>| {
        Change::Stage(Stage {
            name: "s".to_owned(),
            changes,
        })
    };
    let change =
        prop_oneof![6 => one, 2 => some.clone().prop_map(Change::All), 1 => some.prop_map(stage)];
    (change, 0..400_u64, 0..6_u32).prop_map(|(change, secs, id)| Command {
        request_id: if id == 0 {
            String::new()
        } else {
            format!("r-{id}")
        },
        ..Command::new(Instant::ZERO + Duration::from_secs(10 * secs), change)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_asked_of_it_the_table_stays_one(commands in proptest::collection::vec(any_command(), 1..24)) {
        let mut leader = table();
        let mut twin = leader.clone();
        let mut follower = Table::restore(&leader.snapshot()).expect("what was written");
        for (number, command) in commands.iter().enumerate() {
            let revision = 2 + number as u64;
            let wire = pb::Command::decode(&pb::Command::from(command).encode_to_vec()[..]);
            let read = Command::try_from(&wire.expect("what was written")).expect("it has a shape");
            prop_assert_eq!(&read, command);
            let before = leader.clone();
            let applied = leader.apply(revision, command);
            prop_assert_eq!(&twin.apply(revision, &read), &applied, "it depends on nothing else");
            match applied {
                Err(_) => prop_assert_eq!(&leader, &before, "a refusal leaves nothing changed"),
                Ok(delta) if delta.repeated => prop_assert_eq!(&leader, &before),
                Ok(delta) => {
                    let wire = pb::Delta::decode(&pb::Delta::from(&delta).encode_to_vec()[..]);
                    let read = Delta::try_from(&wire.expect("what was written")).expect("it has a shape");
                    prop_assert_eq!(&read, &delta);
                    follower.replay(&read).expect("it is the next one");
                }
            }
            prop_assert_eq!(&follower, &leader, "who follows knows the same");
        }
        let restored = Table::restore(&leader.snapshot()).expect("what was written");
        prop_assert_eq!(&restored, &leader);
        prop_assert_eq!(restored.snapshot(), leader.snapshot());
    }
}
