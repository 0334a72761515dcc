/// The dumbbells of topologies/bench/ as ns-3 has them: clients, two routers and hosts, joined by point-to-point links.
///
///   clients --1 ms-- router (POP) --50 ms, 40 Gbit/s-- router (region) --0.1 ms, 40 Gbit/s-- 4 hosts
///
/// `--kind=udp` is dumbbell-udp.toml, `--kind=tcp` is dumbbell-tcp.toml: as many clients, the same rates, sizes and delays,
/// three links each way. What ns-3 has no word for is left out: anycast, load balancer, address translation, probes, and,
/// but with `--tunnel`, GRE. A hop is a packet that a device of a link receives, as anyedge counts it.
///
/// Prints `key=value` lines. Exit codes: 0, 2 for arguments that make no sense, 3 when not everything was answered.

#include "gre.h"
#include "traffic.h"

#include "ns3/boolean.h"
#include "ns3/command-line.h"
#include "ns3/config.h"
#include "ns3/double.h"
#include "ns3/global-value.h"
#include "ns3/internet-stack-helper.h"
#include "ns3/ipv4-address-helper.h"
#include "ns3/ipv4-global-routing-helper.h"
#include "ns3/ipv4-static-routing-helper.h"
#include "ns3/nix-vector-helper.h"
#include "ns3/point-to-point-helper.h"
#include "ns3/point-to-point-net-device.h"
#include "ns3/rng-seed-manager.h"
#include "ns3/scheduler.h"
#include "ns3/string.h"
#include "ns3/traffic-control-helper.h"
#include "ns3/uinteger.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

using namespace ns3;
using peer::Outcomes;
using peer::Sizes;

namespace {

constexpr uint32_t HOSTS = 4;
constexpr uint16_t PORT = 7000;
constexpr uint32_t TICK_BYTES = 1000;
constexpr Sizes REQUEST{1000, 10000};
/// In 1,500 bytes with the outer headers of GRE with a key, as anyedge's POP has clients and hosts agree on it.
constexpr uint32_t SEGMENT_BYTES = 1432;
constexpr uint32_t BUFFER_BYTES = 65536;

uint64_t g_hops = 0;
uint64_t g_drops = 0;

void CountHop(Ptr<const Packet>) {
    g_hops += 1;
}
void CountDrop(Ptr<const Packet>) {
    g_drops += 1;
}

struct Options {
    std::string kind = "udp";
    uint32_t clients = 100;
    /// Ticks or requests a second, all clients together; 0: as the topology has it.
    double rate = 0;
    /// How long clients send; 0: as the topology has it.
    double seconds = 0;
    /// Empty: the fastest that there is.
    std::string routing;
    /// The fastest of ns-3's here; the default is `ns3::MapScheduler`.
    std::string scheduler = "ns3::PriorityQueueScheduler";
    bool tunnel = false;
    bool queueDisc = false;
    bool checksums = false;
    /// Seconds; TIME-WAIT is twice that, and anyedge's is 10 s.
    double msl = 5;
    uint32_t seed = 1;

    bool IsUdp() const { return kind == "udp"; }
    /// What the run lasts beyond `seconds`.
    double Drain() const { return IsUdp() ? 2 : 5; }
};

void Complain(const std::string& what) {
    std::cerr << "dumbbell: " << what << "\n";
    std::exit(2);
}

Options Parse(int argc, char** argv) {
    Options options;
    CommandLine line(__FILE__);
    line.Usage("The dumbbells of topologies/bench/ in ns-3.\n\n  dumbbell --kind=udp\n  dumbbell --kind=tcp --seconds=10");
    line.AddValue("kind", "udp (ticks) or tcp (requests)", options.kind);
    line.AddValue("clients", "hosts that send, each on a link of its own", options.clients);
    line.AddValue("rate", "ticks or requests a second of all clients; 0: 20000 or 1500", options.rate);
    line.AddValue("seconds", "how long clients send; 0: 120 or 100", options.seconds);
    line.AddValue("routing", "static, global or nix; empty: global, with --tunnel static", options.routing);
    line.AddValue("scheduler", "type of the event queue", options.scheduler);
    line.AddValue("tunnel", "GRE with a key between the routers and to each host", options.tunnel);
    line.AddValue("queueDisc", "keep the FqCoDel that ns-3 puts in front of each device", options.queueDisc);
    line.AddValue("checksums", "compute and verify checksums", options.checksums);
    line.AddValue("msl", "TCP's maximum segment lifetime, seconds; TIME-WAIT is twice that", options.msl);
    line.AddValue("seed", "run number of the random streams", options.seed);
    line.Parse(argc, argv);
    if (options.kind != "udp" && options.kind != "tcp") {
        Complain("--kind is udp or tcp, not " + options.kind);
    }
    if (options.clients < 1 || options.clients > 10000 || options.rate < 0 || options.seconds < 0) {
        Complain("--clients is 1 to 10000, --rate and --seconds are not negative");
    }
    if (options.routing.empty()) {
        options.routing = options.tunnel ? "static" : "global";
    }
    if (options.tunnel && options.routing != "static") {
        Complain("--tunnel needs --routing=static");
    }
    if (options.rate == 0) {
        options.rate = options.IsUdp() ? 20000 : 1500;
    }
    if (options.seconds == 0) {
        options.seconds = options.IsUdp() ? 120 : 100;
    }
    return options;
}

void Configure(const Options& options) {
    RngSeedManager::SetRun(options.seed);
    Simulator::SetScheduler(ObjectFactory(options.scheduler));
    GlobalValue::Bind("ChecksumEnabled", BooleanValue(options.checksums));
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(SEGMENT_BYTES));
    Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(BUFFER_BYTES));
    Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(BUFFER_BYTES));
    Config::SetDefault("ns3::TcpSocketBase::MaxSegLifetime", DoubleValue(options.msl));
    Config::SetDefault("ns3::TcpSocketBase::Timestamp", BooleanValue(false));
}

/// A link with its two addresses.
struct Link {
    Ptr<Node> near;
    Ptr<Node> far;
    uint32_t nearInterface;
    uint32_t farInterface;
    Ipv4Address nearAddress;
    Ipv4Address farAddress;
};

/// Nodes and links of the dumbbell.
class Dumbbell {
  public:
    explicit Dumbbell(const Options& options) : m_options(options) {
        m_clients.Create(options.clients);
        m_routers.Create(2);
        m_hosts.Create(HOSTS);
        InstallStacks();
        m_addresses.SetBase("10.1.0.0", "255.255.255.252");
        for (uint32_t index = 0; index < options.clients; index++) {
            m_access.push_back(Join(m_clients.Get(index), m_routers.Get(0), "1000Gbps", "1ms"));
        }
        m_addresses.SetBase("10.2.0.0", "255.255.255.252");
        for (uint32_t index = 0; index < HOSTS; index++) {
            m_fabric.push_back(Join(m_routers.Get(1), m_hosts.Get(index), "40Gbps", "100us"));
        }
        m_addresses.SetBase("10.3.0.0", "255.255.255.252");
        m_backbone = Join(m_routers.Get(0), m_routers.Get(1), "40Gbps", "50ms");
        Route();
    }

    Ptr<Node> Client(uint32_t index) const { return m_clients.Get(index); }
    Ptr<Node> Host(uint32_t index) const { return m_hosts.Get(index); }
    InetSocketAddress Service(uint32_t index) const {
        return InetSocketAddress(m_fabric[index % HOSTS].farAddress, PORT);
    }

  private:
    void InstallStacks() const {
        InternetStackHelper stack;
        stack.SetIpv6StackInstall(false);
        const Ipv4StaticRoutingHelper fixed;
        const Ipv4GlobalRoutingHelper global;
        const Ipv4NixVectorHelper nix;
        if (m_options.routing == "static") {
            stack.SetRoutingHelper(fixed);
        } else if (m_options.routing == "global") {
            stack.SetRoutingHelper(global);
        } else if (m_options.routing == "nix") {
            stack.SetRoutingHelper(nix);
        } else {
            Complain("--routing is static, global or nix, not " + m_options.routing);
        }
        stack.Install(m_clients);
        stack.Install(m_routers);
        stack.Install(m_hosts);
    }

    Link Join(Ptr<Node> near, Ptr<Node> far, const char* rate, const char* delay) {
        PointToPointHelper line;
        line.SetDeviceAttribute("DataRate", StringValue(rate));
        line.SetChannelAttribute("Delay", StringValue(delay));
        // The 4 MiB of anyedge's links.
        line.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", StringValue("4194304B"));
        const NetDeviceContainer devices = line.Install(near, far);
        const Ipv4InterfaceContainer interfaces = m_addresses.Assign(devices);
        m_addresses.NewNetwork();
        if (!m_options.queueDisc) {
            TrafficControlHelper().Uninstall(devices);
        }
        for (uint32_t index = 0; index < 2; index++) {
            const Ptr<NetDevice> device = devices.Get(index);
            device->TraceConnectWithoutContext("PhyRxEnd", MakeCallback(&CountHop));
            device->TraceConnectWithoutContext("MacTxDrop", MakeCallback(&CountDrop));
        }
        return Link{near,
                    far,
                    interfaces.Get(0).second,
                    interfaces.Get(1).second,
                    interfaces.GetAddress(0),
                    interfaces.GetAddress(1)};
    }

    /// The same link's ends as those of a tunnel over it.
    Link Tunnel(const Link& over, uint32_t key) {
        const auto near = peer::Gre::Of(over.near)->AddEnd(over.near, over.nearInterface, over.farAddress, key);
        const auto far = peer::Gre::Of(over.far)->AddEnd(over.far, over.farInterface, over.nearAddress, key);
        NetDeviceContainer devices(near);
        devices.Add(far);
        const Ipv4InterfaceContainer ends = m_addresses.Assign(devices);
        m_addresses.NewNetwork();
        return Link{over.near,          over.far,           ends.Get(0).second, ends.Get(1).second,
                    ends.GetAddress(0), ends.GetAddress(1)};
    }

    void Route() {
        if (m_options.routing == "global") {
            Ipv4GlobalRoutingHelper::PopulateRoutingTables();
        }
        if (m_options.routing != "static") {
            return;
        }
        Link backbone = m_backbone;
        std::vector<Link> fabric = m_fabric;
        if (m_options.tunnel) {
            m_addresses.SetBase("10.4.0.0", "255.255.255.252");
            backbone = Tunnel(m_backbone, 1);
            for (uint32_t index = 0; index < HOSTS; index++) {
                fabric[index] = Tunnel(m_fabric[index], 2 + index);
            }
        }
        for (const Link& link : m_access) {
            Table(link.near)->SetDefaultRoute(link.farAddress, link.nearInterface);
        }
        const Ipv4Address clients("10.1.0.0");
        const Ipv4Address hosts("10.2.0.0");
        const Ipv4Mask mask("255.255.0.0");
        Table(backbone.near)->AddNetworkRouteTo(hosts, mask, backbone.farAddress, backbone.nearInterface);
        Table(backbone.far)->AddNetworkRouteTo(clients, mask, backbone.nearAddress, backbone.farInterface);
        for (uint32_t index = 0; index < HOSTS; index++) {
            const Link& link = fabric[index];
            if (m_options.tunnel) {
                Table(link.near)->AddHostRouteTo(m_fabric[index].farAddress, link.farAddress, link.nearInterface);
            }
            Table(link.far)->AddNetworkRouteTo(clients, mask, link.nearAddress, link.farInterface);
        }
    }

    static Ptr<Ipv4StaticRouting> Table(Ptr<Node> node) {
        return Ipv4StaticRoutingHelper().GetStaticRouting(node->GetObject<Ipv4>());
    }

    const Options& m_options;
    NodeContainer m_clients;
    NodeContainer m_routers;
    NodeContainer m_hosts;
    Ipv4AddressHelper m_addresses;
    std::vector<Link> m_access;
    std::vector<Link> m_fabric;
    Link m_backbone;
};

/// A flow of ticks has its host; of requests each goes to the next host, as in weighted round robin of equal weights.
void AddTraffic(const Dumbbell& dumbbell, const Options& options, Outcomes* outcomes) {
    const double each = options.rate / options.clients;
    const Time stop = Seconds(options.seconds);
    const auto turn = std::make_shared<uint32_t>(0);
    const auto next = [&dumbbell, turn] { return dumbbell.Service((*turn)++); };
    for (uint32_t index = 0; index < options.clients; index++) {
        Ptr<Application> client;
        if (options.IsUdp()) {
            client = CreateObject<peer::TickClient>(each, stop, outcomes, dumbbell.Service(index), TICK_BYTES);
        } else {
            client = CreateObject<peer::RequestClient>(each, stop, outcomes, next, REQUEST);
        }
        dumbbell.Client(index)->AddApplication(client);
    }
    for (uint32_t index = 0; index < HOSTS; index++) {
        Ptr<Application> server;
        if (options.IsUdp()) {
            server = CreateObject<peer::EchoServer>(PORT);
        } else {
            server = CreateObject<peer::AnswerServer>(PORT, REQUEST);
        }
        dumbbell.Host(index)->AddApplication(server);
    }
}

double SecondsOf(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

void Print(const Options& options, const Outcomes& outcomes, uint64_t events, double wall) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double cpu = SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime);
    const double ok = static_cast<double>(outcomes.ok);
    std::cout.precision(9);
    std::cout << "kind=" << options.kind << "\nvirtual_s=" << options.seconds + options.Drain()
              << "\nsent=" << outcomes.sent << "\nok=" << outcomes.ok << "\nfailed=" << outcomes.failed
              << "\nlatency_mean_ms=" << static_cast<double>(outcomes.latencyNanos) / 1e6 / ok << "\nevents=" << events
              << "\npacket_hops=" << g_hops << "\ndrops=" << g_drops << "\ncpu_s=" << cpu << "\nwall_s=" << wall
              << "\nrss_kib=" << usage.ru_maxrss << "\n";
}

}  // namespace

int main(int argc, char** argv) {
    const auto began = std::chrono::steady_clock::now();
    const Options options = Parse(argc, argv);
    Configure(options);
    const Dumbbell dumbbell(options);
    Outcomes outcomes;
    AddTraffic(dumbbell, options, &outcomes);
    Simulator::Stop(Seconds(options.seconds + options.Drain()));
    Simulator::Run();
    const uint64_t events = Simulator::GetEventCount();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
    Print(options, outcomes, events, wall.count());
    Simulator::Destroy();
    return outcomes.ok == outcomes.sent ? 0 : 3;
}
