/// GRE with a key (RFC 2784, RFC 2890) between two nodes, for `--tunnel`.
///
/// A tunnel is a `VirtualNetDevice` at each end. Its ends are told apart by their outer addresses. The route of outer
/// packets is the link below, so that a tunnel costs its headers and not one more look-up a packet.

#ifndef ANYEDGE_PEERS_NS3_GRE_H
#define ANYEDGE_PEERS_NS3_GRE_H

#include "ns3/header.h"
#include "ns3/ip-l4-protocol.h"
#include "ns3/ipv4-interface.h"
#include "ns3/ipv4-l3-protocol.h"
#include "ns3/ipv4-route.h"
#include "ns3/node.h"
#include "ns3/packet.h"
#include "ns3/virtual-net-device.h"

#include <map>

namespace peer {

/// Flags, protocol and key.
class GreHeader : public ns3::Header {
  public:
    explicit GreHeader(uint32_t key = 0) : m_key(key) {}

    static ns3::TypeId GetTypeId() {
        static const ns3::TypeId id = ns3::TypeId("peer::GreHeader").SetParent<ns3::Header>().AddConstructor<GreHeader>();
        return id;
    }
    ns3::TypeId GetInstanceTypeId() const override { return GetTypeId(); }
    uint32_t GetSerializedSize() const override { return 8; }
    void Serialize(ns3::Buffer::Iterator at) const override {
        at.WriteHtonU16(KEY_PRESENT);
        at.WriteHtonU16(ns3::Ipv4L3Protocol::PROT_NUMBER);
        at.WriteHtonU32(m_key);
    }
    uint32_t Deserialize(ns3::Buffer::Iterator at) override {
        m_isSound = at.ReadNtohU16() == KEY_PRESENT && at.ReadNtohU16() == ns3::Ipv4L3Protocol::PROT_NUMBER;
        m_key = at.ReadNtohU32();
        return 8;
    }
    void Print(std::ostream& to) const override { to << "key " << m_key; }
    bool IsSound() const { return m_isSound; }
    uint32_t Key() const { return m_key; }

  private:
    static constexpr uint16_t KEY_PRESENT = 0x2000;
    uint32_t m_key;
    bool m_isSound = false;
};

/// The ends of all tunnels of one node.
class Gre : public ns3::IpL4Protocol {
  public:
    static constexpr int NUMBER = 47;

    /// The one of `node`, made when it has none.
    static ns3::Ptr<Gre> Of(ns3::Ptr<ns3::Node> node) {
        const auto ipv4 = node->GetObject<ns3::Ipv4L3Protocol>();
        if (const auto found = ipv4->GetProtocol(NUMBER)) {
            return ns3::DynamicCast<Gre>(found);
        }
        const auto made = ns3::CreateObject<Gre>();
        made->m_ipv4 = ipv4;
        ipv4->Insert(made);
        return made;
    }

    /// Adds an end whose outer packets leave by `interface` of `node`, and returns the device of the inner ones.
    ns3::Ptr<ns3::VirtualNetDevice> AddEnd(ns3::Ptr<ns3::Node> node, uint32_t interface, ns3::Ipv4Address peer,
                                           uint32_t key) {
        const auto device = ns3::CreateObject<ns3::VirtualNetDevice>();
        const auto route = ns3::Create<ns3::Ipv4Route>();
        route->SetDestination(peer);
        route->SetSource(m_ipv4->GetAddress(interface, 0).GetLocal());
        route->SetGateway(ns3::Ipv4Address::GetZero());
        route->SetOutputDevice(m_ipv4->GetNetDevice(interface));
        End& end = m_ends[peer];
        end = End{device, key, route};
        device->SetSendCallback([this, &end](ns3::Ptr<ns3::Packet> packet, const ns3::Address&, const ns3::Address&,
                                             uint16_t) { return Send(end, packet); });
        device->SetIsPointToPoint(true);
        node->AddDevice(device);
        return device;
    }

    int GetProtocolNumber() const override { return NUMBER; }
    RxStatus Receive(ns3::Ptr<ns3::Packet> packet, const ns3::Ipv4Header& outer, ns3::Ptr<ns3::Ipv4Interface>) override {
        const auto end = m_ends.find(outer.GetSource());
        GreHeader header;
        packet->RemoveHeader(header);
        if (end == m_ends.end() || !header.IsSound() || header.Key() != end->second.key) {
            return RX_ENDPOINT_UNREACH;
        }
        const auto& device = end->second.device;
        device->Receive(packet, ns3::Ipv4L3Protocol::PROT_NUMBER, device->GetAddress(), device->GetAddress(),
                        ns3::NetDevice::PACKET_HOST);
        return RX_OK;
    }
    RxStatus Receive(ns3::Ptr<ns3::Packet>, const ns3::Ipv6Header&, ns3::Ptr<ns3::Ipv6Interface>) override {
        return RX_ENDPOINT_UNREACH;
    }
    void SetDownTarget(DownTargetCallback) override {}
    void SetDownTarget6(DownTargetCallback6) override {}
    DownTargetCallback GetDownTarget() const override { return {}; }
    DownTargetCallback6 GetDownTarget6() const override { return {}; }

  private:
    struct End {
        ns3::Ptr<ns3::VirtualNetDevice> device;
        uint32_t key;
        ns3::Ptr<ns3::Ipv4Route> route;
    };

    bool Send(const End& end, ns3::Ptr<ns3::Packet> packet) {
        packet->AddHeader(GreHeader(end.key));
        m_ipv4->Send(packet, end.route->GetSource(), end.route->GetDestination(), NUMBER, end.route);
        return true;
    }

    ns3::Ptr<ns3::Ipv4L3Protocol> m_ipv4;
    std::map<ns3::Ipv4Address, End> m_ends;
};

}  // namespace peer

#endif
