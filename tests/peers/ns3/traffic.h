/// The traffic of both dumbbells: ticks over UDP, requests over TCP, and who answers them.
///
/// Arrivals are Poisson, as those of anyedge's loads are, and nothing that comes back holds one up. Every outcome is
/// counted in one `Outcomes`, which the program prints.

#ifndef ANYEDGE_PEERS_NS3_TRAFFIC_H
#define ANYEDGE_PEERS_NS3_TRAFFIC_H

#include "ns3/application.h"
#include "ns3/double.h"
#include "ns3/inet-socket-address.h"
#include "ns3/packet.h"
#include "ns3/random-variable-stream.h"
#include "ns3/simulator.h"
#include "ns3/socket.h"
#include "ns3/tcp-socket-factory.h"
#include "ns3/udp-socket-factory.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace peer {

using ns3::Address;
using ns3::Application;
using ns3::InetSocketAddress;
using ns3::Packet;
using ns3::Ptr;
using ns3::Simulator;
using ns3::Socket;
using ns3::Time;

/// What became of ticks or requests.
struct Outcomes {
    uint64_t sent = 0;
    uint64_t ok = 0;
    uint64_t failed = 0;
    /// Of those that are ok, from when they were due to the last byte of the answer.
    int64_t latencyNanos = 0;

    void Answered(Time due) {
        ok += 1;
        latencyNanos += (Simulator::Now() - due).GetNanoSeconds();
    }
};

/// A client that does something at Poisson arrivals until `stop`.
class Client : public Application {
  public:
    Client(double perSecond, Time stop, Outcomes* outcomes)
        : m_outcomes(outcomes), m_stop(stop), m_gap(ns3::CreateObject<ns3::ExponentialRandomVariable>()) {
        m_gap->SetAttribute("Mean", ns3::DoubleValue(1.0 / perSecond));
    }

  protected:
    virtual void Arrive() = 0;
    void StartApplication() override { AwaitNext(); }

    Outcomes* m_outcomes;

  private:
    void AwaitNext() {
        const Time gap = ns3::Seconds(m_gap->GetValue());
        if (Simulator::Now() + gap < m_stop) {
            Simulator::Schedule(gap, &Client::OnArrival, this);
        }
    }
    void OnArrival() {
        m_outcomes->sent += 1;
        Arrive();
        AwaitNext();
    }

    Time m_stop;
    Ptr<ns3::ExponentialRandomVariable> m_gap;
};

/// Sends datagrams that say when they were due, from one socket to one host.
class TickClient : public Client {
  public:
    TickClient(double perSecond, Time stop, Outcomes* outcomes, InetSocketAddress to, uint32_t bytes)
        : Client(perSecond, stop, outcomes), m_to(to), m_bytes(bytes, 0xAE) {}

  private:
    void StartApplication() override {
        m_socket = Socket::CreateSocket(GetNode(), ns3::UdpSocketFactory::GetTypeId());
        m_socket->Bind();
        m_socket->Connect(m_to);
        m_socket->SetRecvCallback(ns3::MakeCallback(&TickClient::OnAnswer, this));
        Client::StartApplication();
    }
    void Arrive() override {
        const int64_t due = Simulator::Now().GetNanoSeconds();
        std::memcpy(m_bytes.data(), &due, sizeof due);
        if (m_socket->Send(ns3::Create<Packet>(m_bytes.data(), m_bytes.size())) < 0) {
            m_outcomes->failed += 1;
        }
    }
    void OnAnswer(Ptr<Socket> socket) {
        while (const Ptr<Packet> packet = socket->Recv()) {
            int64_t due = 0;
            packet->CopyData(reinterpret_cast<uint8_t*>(&due), sizeof due);
            m_outcomes->Answered(ns3::NanoSeconds(due));
        }
    }

    InetSocketAddress m_to;
    std::vector<uint8_t> m_bytes;
    Ptr<Socket> m_socket;
};

/// Sends datagrams back to where they came from.
class EchoServer : public Application {
  public:
    explicit EchoServer(uint16_t port) : m_port(port) {}

  private:
    void StartApplication() override {
        m_socket = Socket::CreateSocket(GetNode(), ns3::UdpSocketFactory::GetTypeId());
        m_socket->Bind(InetSocketAddress(ns3::Ipv4Address::GetAny(), m_port));
        m_socket->SetRecvCallback(ns3::MakeCallback(&EchoServer::OnTick, this));
    }
    void OnTick(Ptr<Socket> socket) {
        Address from;
        while (const Ptr<Packet> packet = socket->RecvFrom(from)) {
            packet->RemoveAllPacketTags();
            packet->RemoveAllByteTags();
            socket->SendTo(packet, 0, from);
        }
    }

    uint16_t m_port;
    Ptr<Socket> m_socket;
};

/// Bytes of a request and of its answer.
struct Sizes {
    uint32_t request;
    uint32_t answer;
};

/// One request over a connection of its own. The socket's callbacks own it, and nothing else does.
class Request : public ns3::SimpleRefCount<Request> {
  public:
    Request(Sizes sizes, Outcomes* outcomes) : m_sizes(sizes), m_outcomes(outcomes), m_due(Simulator::Now()) {}

    static void Start(Ptr<ns3::Node> node, const InetSocketAddress& to, Sizes sizes, Outcomes* outcomes) {
        const auto request = ns3::Create<Request>(sizes, outcomes);
        const auto socket = Socket::CreateSocket(node, ns3::TcpSocketFactory::GetTypeId());
        const auto fail = ns3::MakeCallback(&Request::OnFailed, request);
        socket->SetConnectCallback(ns3::MakeCallback(&Request::OnConnected, request), fail);
        socket->SetCloseCallbacks(ns3::MakeNullCallback<void, Ptr<Socket>>(), fail);
        socket->SetRecvCallback(ns3::MakeCallback(&Request::OnAnswer, request));
        if (socket->Bind() < 0 || socket->Connect(to) < 0) {
            request->OnFailed(socket);
        }
    }

  private:
    void OnConnected(Ptr<Socket> socket) { socket->Send(ns3::Create<Packet>(m_sizes.request)); }
    void OnAnswer(Ptr<Socket> socket) {
        while (const Ptr<Packet> packet = socket->Recv()) {
            m_received += packet->GetSize();
        }
        if (m_received >= m_sizes.answer && !m_isOver) {
            m_isOver = true;
            m_outcomes->Answered(m_due);
            socket->Close();
        }
    }
    void OnFailed(Ptr<Socket>) {
        if (!m_isOver) {
            m_isOver = true;
            m_outcomes->failed += 1;
        }
    }

    Sizes m_sizes;
    Outcomes* m_outcomes;
    Time m_due;
    uint32_t m_received = 0;
    bool m_isOver = false;
};

/// Opens a connection for each request, to each host in turn.
class RequestClient : public Client {
  public:
    RequestClient(double perSecond, Time stop, Outcomes* outcomes, std::function<InetSocketAddress()> next, Sizes sizes)
        : Client(perSecond, stop, outcomes), m_next(std::move(next)), m_sizes(sizes) {}

  private:
    void Arrive() override { Request::Start(GetNode(), m_next(), m_sizes, m_outcomes); }

    std::function<InetSocketAddress()> m_next;
    Sizes m_sizes;
};

/// One connection of a server: answers when it has all of the request, and closes. Owned by the socket's callback.
class Answer : public ns3::SimpleRefCount<Answer> {
  public:
    explicit Answer(Sizes sizes) : m_sizes(sizes) {}

    void OnRequest(Ptr<Socket> socket) {
        while (const Ptr<Packet> packet = socket->Recv()) {
            m_received += packet->GetSize();
        }
        if (m_received >= m_sizes.request && !m_isOver) {
            m_isOver = true;
            socket->Send(ns3::Create<Packet>(m_sizes.answer));
            socket->Close();
        }
    }

  private:
    Sizes m_sizes;
    uint32_t m_received = 0;
    bool m_isOver = false;
};

/// Accepts connections, each with one request.
class AnswerServer : public Application {
  public:
    AnswerServer(uint16_t port, Sizes sizes) : m_port(port), m_sizes(sizes) {}

  private:
    void StartApplication() override {
        m_socket = Socket::CreateSocket(GetNode(), ns3::TcpSocketFactory::GetTypeId());
        m_socket->Bind(InetSocketAddress(ns3::Ipv4Address::GetAny(), m_port));
        m_socket->Listen();
        m_socket->SetAcceptCallback(ns3::MakeNullCallback<bool, Ptr<Socket>, const Address&>(),
                                    ns3::MakeCallback(&AnswerServer::OnAccepted, this));
    }
    void OnAccepted(Ptr<Socket> socket, const Address&) {
        socket->SetRecvCallback(ns3::MakeCallback(&Answer::OnRequest, ns3::Create<Answer>(m_sizes)));
    }

    uint16_t m_port;
    Sizes m_sizes;
    Ptr<Socket> m_socket;
};

}  // namespace peer

#endif
