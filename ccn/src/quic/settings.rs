//! How quinn is set: one size of packets, no streams, and nothing drawn but from where the host draws.
//!
//! quinn would draw connection ids, its own generator's seed, and keys for reset and retry from the operating system; the
//! first two come from [`Draw`], the keys from the node's private key, so that a node that restarted can still tell its peers
//! that their connections are gone (RFC 9000 §10.3.2). The path's MTU is what the table says and is not searched for
//! (RFC 9000 §14.3 leaves that to us); congestion control is CUBIC (RFC 9438), since quinn's BBR draws for itself.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_net::wire::outer::QUIC_ID_LEN;
use quinn::congestion::CubicConfig;
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig,
    TransportConfig, ValidationTokenConfig, VarInt,
};
use rustls::crypto::ring::default_provider;

use crate::rpc::Tls;

/// What every path takes (RFC 9000 §14): UDP payloads of as many bytes.
const PAYLOAD_MIN: u16 = 1_200;
const PAYLOAD_MAX: u16 = 65_527;
/// An end that hears nothing for as long is gone. Path probes find that out far earlier.
const IDLE_MAX: Duration = Duration::from_secs(2);
/// How often an end that has nothing to say is heard all the same.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Datagrams below the port's own queue, which cannot be dropped there any more: little.
const SEND_BYTES_MAX: usize = 8 << 10;
/// Datagrams that came in and wait for their task; beyond it quinn drops the oldest.
const RECEIVE_BYTES_MAX: usize = 1 << 20;
/// Callers that are not looked at yet.
const INCOMING_MAX: usize = 64;
/// What they may send meanwhile: each, and all.
const INCOMING_BYTES_MAX: u64 = 16 << 10;
const INCOMING_TOTAL_MAX: u64 = 256 << 10;

/// Where connection ids and seeds come from: a stream of the host's secrets, or the operating system.
pub(super) struct Draw(Option<Mutex<Rng>>);

impl Draw {
    /// Another stream at every start of the host, so that no id of an earlier one comes again.
    pub(super) fn of(host: &impl Host) -> Draw {
        let purpose = format!("quic from {}", host.now().as_nanos());
        Draw(host.secrets(&purpose).map(Mutex::new))
    }

    fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            // A generator that a panic interrupted is still a generator.
            Some(rng) => rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill(bytes),
            None => default_provider()
                .secure_random
                .fill(bytes)
                .expect("the machine has randomness"),
        }
    }

    fn id<const LEN: usize>(&self) -> ConnectionId {
        let mut bytes = [0; LEN];
        self.fill(&mut bytes);
        ConnectionId::new(&bytes)
    }
}

/// Ids that say nothing.
struct Ids(Arc<Draw>);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0.id::<QUIC_ID_LEN>()
    }

    fn cid_len(&self) -> usize {
        QUIC_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// An endpoint whose largest UDP payload is `payload`.
pub(super) fn endpoint(tls: &Tls, draw: &Arc<Draw>, payload: u16) -> EndpointConfig {
    let mut config = EndpointConfig::new(tls.quic_reset_key());
    let mut seed = [0; 32];
    draw.fill(&mut seed);
    let draw = Arc::clone(draw);
    config
        .rng_seed(Some(seed))
        .cid_generator(move || Box::new(Ids(Arc::clone(&draw))))
        .grease_quic_bit(false)
        .max_udp_payload_size(payload.clamp(PAYLOAD_MIN, PAYLOAD_MAX))
        .expect("within quinn's bounds");
    config
}

/// A caller over a path whose largest UDP payload is `payload`.
pub(super) fn client(tls: &Tls, draw: &Arc<Draw>, payload: u16) -> ClientConfig {
    let mut config = ClientConfig::new(tls.quic_client());
    let draw = Arc::clone(draw);
    // As long as they may be: nobody guesses one.
    config
        .initial_dst_cid_provider(Arc::new(move || draw.id::<20>()))
        .transport_config(transport(payload));
    config
}

/// One that answers over a path whose largest UDP payload is `payload`.
pub(super) fn server(tls: &Tls, payload: u16) -> ServerConfig {
    let mut config = ServerConfig::new(tls.quic_server(), tls.quic_token_key());
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(transport(payload))
        .validation_token_config(tokens)
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_TOTAL_MAX);
    config
}

fn transport(payload: u16) -> Arc<TransportConfig> {
    let idle = IdleTimeout::try_from(IDLE_MAX).expect("far below 2^62 ms");
    let mut config = TransportConfig::default();
    config
        .initial_mtu(payload)
        .min_mtu(payload)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_send_buffer_size(SEND_BYTES_MAX)
        .datagram_receive_buffer_size(Some(RECEIVE_BYTES_MAX))
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .enable_segmentation_offload(false)
        .allow_spin(false);
    Arc::new(config)
}
