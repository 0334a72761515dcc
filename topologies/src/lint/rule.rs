//! The rules and what each says of itself.

use std::fmt;

use super::{
    Case, bypassed_groups, controllers, egress_ports, idle_rules, prefixes, probe_sources,
    publishers, silences, snat_ports, source_tuples, tunnels, weights,
};

/// What one kind of finding is about.
pub struct Rule {
    /// `L01`: never given to another rule.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub title: &'static str,
    pub(super) work: Work,
    /// When exactly it speaks.
    pub what: &'static str,
    /// What happens to those who do not heed it.
    pub why: &'static str,
    /// What to do.
    pub mend: &'static str,
    /// Where it is from.
    pub source: &'static str,
}

/// How a rule is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// By a finding.
    Warned,
    /// By the reader, as a mistake: no topology comes of it.
    Refused,
    /// Not yet: it is about what the format does not have.
    Later,
}

/// What looks for it.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Finds(fn(&Case<'_>, &'static Rule)),
    Refused,
    Later,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.id)
    }
}

impl Rule {
    /// The rule of that number, in either case.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }

    /// How it is kept.
    #[must_use]
    pub const fn kept(&self) -> Kept {
        match self.work {
            Work::Finds(_) => Kept::Warned,
            Work::Refused => Kept::Refused,
            Work::Later => Kept::Later,
        }
    }

    /// All that it says of itself.
    #[must_use]
    pub fn explanation(&self) -> String {
        let Rule {
            id,
            title,
            what,
            why,
            mend,
            source,
            ..
        } = self;
        let kept = match self.kept() {
            Kept::Warned => "",
            Kept::Refused => {
                "\nA file with this is refused: `anyedge check` and every other command say where.\n"
            }
            Kept::Later => "\nNot built yet: topology files do not have what it is about.\n",
        };
        format!(
            "{id}: {title}\n{kept}\nWhat    {what}\nWhy     {why}\nMend    {mend}\nSource  {source}\n"
        )
    }
}

/// All rules, by number.
pub static RULES: [Rule; 18] = [
    Rule {
        id: "L01",
        title: "a rule of a security group is shadowed by earlier ones",
        work: Work::Finds(idle_rules::shadowed),
        what: "All that the rule matches is matched by rules that are asked before it, one or several between them. \
               Smaller priorities are asked first; in profile \"qingcloud\", of one priority, those that drop.",
        why: "The first rule that matches decides, so this one never does: whoever reads the group believes in a rule \
              that does not hold.",
        mend: "Take it out, or move it above the rules that shadow it.",
        source: "S-SG02, P-SG1, P-SG4, S-BE18",
    },
    Rule {
        id: "L02",
        title: "health checks are dropped by the backend's own security groups",
        work: Work::Finds(probe_sources::find),
        what: "A listener is checked, and the groups of a target's host do not accept its checks: from the VIP, or \
               from 100.64.0.0/10 with `source`, on the target's port or the check's own, and as icmp where it pings. \
               Silent with `sg_probes_exempt` or `sg_pass_by_default`.",
        why: "Every check times out, and the targets become abnormal while they work. With `fail_open` all targets get \
              flows then, and nobody notices until one of them is really lost.",
        mend: "\"vip.NAME+PORT allow\" in `ingress`, with the port of the targets and not of the listener, above the rule that \
               drops it.",
        source: "S-SG05, S-SG07, S-BE18",
    },
    Rule {
        id: "L03",
        title: "an egress rule names the backend's port for a VIP",
        work: Work::Finds(egress_ports::find),
        what: "An outward rule names a VIP and a port that none of its listeners has and that targets behind one of them \
               have. Silent with `sg_egress_port = \"backend\"`, which compares with the targets' port.",
        why: "A client's packets go to the VIP and the listener's port, so the rule matches none of them: it neither \
              allows nor shuts out anything. The reference's own examples are written so.",
        mend: "The listener's port in the rule; or `sg_egress_port = \"backend\"` in [defaults].",
        source: "A22, S-SG09, S-SG10, S-BE18",
    },
    Rule {
        id: "L04",
        title: "a blacklist stands behind a rule that accepts everybody",
        work: Work::Finds(idle_rules::blacklist),
        what: "A rule drops, and one that is asked before it accepts everybody on the same ports.",
        why: "The first rule that matches decides: those whom the rule would shut out have been accepted.",
        mend: "The rules that drop first, the one that accepts everybody last.",
        source: "S-SG02, S-SG11 (scenario 5 in the reverse order)",
    },
    Rule {
        id: "L05",
        title: "a target whose server was released, or whose address has a new owner",
        work: Work::Later,
        what: "Cross-region binding 2.0 keeps addresses, not servers.",
        why: "Flows go to nobody, or to somebody else's server.",
        mend: "Unbind the target.",
        source: "cross-region binding 2.0",
    },
    Rule {
        id: "L06",
        title: "fewer SNAT ports than flows at a time",
        work: Work::Finds(snat_ports::find),
        what: "Flows to one server at a time, by the rates of the file's loads and how long a flow keeps its port,
               against 55,000 ports of each address in `snat`. A TCP flow keeps it for 10 s after both sides closed, a SYN of a
               flood for 30 s.",
        why: "Flows beyond the ports are refused (`SnatPorts`): clients wait and try again.",
        mend: "More SNAT addresses, or more servers: each has the ports for itself.",
        source: "P-SA06",
    },
    Rule {
        id: "L07",
        title: "a UDP listener with targets in a data centre expects the client's address",
        work: Work::Later,
        what: "Targets behind SNAT see the SNAT address, and UDP has no way to tell them another.",
        why: "The server answers or counts the wrong client.",
        mend: "Targets in the region, or a protocol that tells the client itself.",
        source: "hybrid binding",
    },
    Rule {
        id: "L08",
        title: "a health check's timeout is not shorter than its interval",
        work: Work::Refused,
        what: "`timeout` >= `interval` in `health` of a listener.",
        why: "A check would still wait for its answer when the next one is due.",
        mend: "The timeout is the shorter one: 2s of 5s by default.",
        source: "P-HC01",
    },
    Rule {
        id: "L09",
        title: "detection and convergence take longer than the service level allows",
        work: Work::Finds(silences::find),
        what: "An expected `gap` is shorter than what a fault of the file means for the clients that enter at a POP. The POP \
               goes down: its router misses it (BFD's interval times its multiplier, or the hold time), and the Internet \
               forgets it (`convergence`). Its only line goes down: probes notice (interval times multiplier), then \
               `withdraw_after`, then the Internet. Of a spread the time of half of the Internet counts. A fault that is \
               over before that lasts as long as it does. Only the first fault of a POP and its lines counts.",
        why: "Whatever the seed and the load: the service level cannot be kept.",
        mend: "Allow a longer gap; or notice sooner (`bfd`, `probe`, `withdraw_after`); or give the POP a second line, over \
               which its flows go on after three probes.",
        source: "S-AC09, docs/survival.md",
    },
    Rule {
        id: "L10",
        title: "datagrams are longer than a tunnel takes",
        work: Work::Finds(tunnels::find),
        what: "A load's ticks make packets that are longer than the smallest tunnel on their way takes (1,464 bytes with \
               the defaults). TCP is clamped to it and errors of paths are relayed, in every file; UDP has no clamp.",
        why: "IPv4: each is cut in two, and the loss of either half is the loss of both. IPv6: the first to a VIP is lost, \
              every ten minutes anew.",
        mend: "A smaller `size`; a larger `mtu` of the links and hosts; or `encap = \"grpc\"`, which has no such limit.",
        source: "docs/icmp.md, docs/fragments.md",
    },
    Rule {
        id: "L11",
        title: "clients stay with their target under another scheduler than wrr",
        work: Work::Refused,
        what: "`session_expire` with `scheduler` = \"wlc\", \"ip-hash\" or \"maglev\".",
        why: "Who stays is not distributed: least connections would be neither least nor sticky.",
        mend: "`scheduler = \"wrr\"`, or no `session_expire`. A flow stays with its target under any scheduler.",
        source: "docs/scheduling.md, S-BE18",
    },
    Rule {
        id: "L12",
        title: "all weights are 0",
        work: Work::Finds(weights::find),
        what: "Every server of a set of targets has weight 0.",
        why: "Weight 0 takes no new flows: all clients of the listener are refused, and `fail_open` does not help, since \
              it is about health.",
        mend: "A weight above 0 for one server at least. Silence it with --allow L12 where it is meant.",
        source: "S-BE03, S-BE04, docs/health.md",
    },
    Rule {
        id: "L13",
        title: "a VIP is announced by one POP, or by POPs with a single line",
        work: Work::Finds(publishers::find),
        what: "A publish domain of one POP; or POPs in it that have one backbone link over which the home region can be \
               reached, directly or over one other region.",
        why: "The only POP takes the VIP with it. A POP without its only line withdraws the VIP, and its clients wait for \
              the Internet (seconds to minutes) where a second line would carry them on within 0.3 s.",
        mend: "Two POPs, each with two [link.NAME]: a second one to the region, or one to a region that has a link to it.",
        source: "S-AC03, S-AC09",
    },
    Rule {
        id: "L14",
        title: "a NAT rule or a route to a public backend is missing or not applied",
        work: Work::Later,
        what: "Public backends are reached through a NAT gateway, whose rules are staged and then applied.",
        why: "Targets never become healthy.",
        mend: "Apply the staged rules.",
        source: "S-SG15, A24",
    },
    Rule {
        id: "L15",
        title: "all controllers are lost together",
        work: Work::Finds(controllers::find),
        what: "All named controllers are at one POP, in one region or in one city, or there is a single one. A file that \
               names none has three in the home region of its first VIP: that is worth a word only where a region \
               stands by for the loss of that one. An even number of controllers is refused.",
        why: "Without a majority nothing can be changed: no drain, no weight, no region that takes over by command. What is \
              there goes on.",
        mend: "[controller.a], [controller.b] and [controller.c] with an `at` of their own each.",
        source: "docs/controller.md, docs/raft.md",
    },
    Rule {
        id: "L16",
        title: "two listeners' clients can show a target the same tuple",
        work: Work::Finds(source_tuples::find),
        what: "Two listeners of one protocol, of one load balancer or of two, have the same server on the same port behind \
               them.",
        why: "The client's address and port are kept, so a client that uses one source port towards both shows the server \
              one tuple for two flows: the second is refused, as TupleTaken.",
        mend: "A port of its own at the servers for each listener.",
        source: "P-LB13, P-SA05",
    },
    Rule {
        id: "L17",
        title: "VIPs of one /24 or /48 have different publish domains",
        work: Work::Finds(prefixes::find),
        what: "Two VIPs are in one /24 or /48, POPs announce them that are not the same, and longer prefixes keep them apart. \
               Without those the file is refused.",
        why: "Networks take no route to less than a /24 or /48: one of the longer prefixes is not heard of, or all \
              packets follow a shorter one to POPs that do not serve the VIP.",
        mend: "The same `publish` for both, or a /24 or /48 for each.",
        source: "docs/topology.md (`prefix`), BGP practice (RFC 7454 section 6.1.3)",
    },
    Rule {
        id: "L18",
        title: "a load balancer's security groups do not take effect",
        work: Work::Finds(bypassed_groups::find),
        what: "`eip_bypasses_clb_sg = true` of a load balancer that has security groups.",
        why: "The switch keeps a fault of old, in which the groups of a load balancer with an anycast address were not \
              asked: whoever they shut out comes in.",
        mend: "Leave the key out, unless the old fault is what you want to see.",
        source: "P-SG3",
    },
];
