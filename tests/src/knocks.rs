//! Who knocks at the doors of gRPC and QUIC tunnels without being let in: half a hello of TLS, another protocol,
//! certificates of strangers, and a node's own certificate followed by what is no HTTP/2.
//!
//! Over sockets of the thread that calls, so that a namespace can be entered first. Nobody waits for long.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyedge_ccn::carry::{Caller, CarryLimits, Port};
use anyedge_ccn::rpc::{Authority, Identity, Role, Tls};
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::rng::{Rng, Seed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// How long a knock waits for anything.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the paths of labs.
const MTU: u16 = 1_500;
/// The longest that the length of a frame can say (RFC 9113 §4.1), of a DATA frame on stream 1.
const LONG_FRAME: [u8; 9] = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A certificate, the key to it and whom it trusts, each as PEM.
#[derive(Clone, Debug)]
pub struct Papers {
    certificate: String,
    key: String,
    authority: String,
}

impl Papers {
    /// Those of a node, from its file.
    ///
    /// # Panics
    /// When the file holds none.
    pub fn read(file: &Path) -> Papers {
        let text = std::fs::read_to_string(file).expect("a node's file");
        let parts: Value = serde_json::from_str(&text).expect("it is JSON");
        let part = |name: &str| parts[name].as_str().expect("PEM").to_owned();
        Papers {
            certificate: part("certificate"),
            key: part("key"),
            authority: part("authority"),
        }
    }

    /// Such as a node has, of an authority that nobody knows, trusting whom these trust.
    ///
    /// # Panics
    /// When none can be made.
    pub fn forged(&self, name: &str) -> Papers {
        let (_runtime, host) = machine();
        let mut authority = Authority::new(&host).expect("an authority");
        let issued = authority.issue(name, Role::Node).expect("a good name");
        Papers {
            certificate: issued.certificate,
            key: issued.key,
            authority: self.authority.clone(),
        }
    }

    fn config(&self, shows: bool, protocol: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes());
        roots
            .add(authority.expect("PEM"))
            .expect("an authority's certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("a version of the provider")
            .with_root_certificates(roots);
        let mut config = if shows {
            let own = CertificateDer::from_pem_slice(self.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
            let shown = config.with_client_auth_cert(vec![own.expect("PEM")], key);
            shown.expect("certificate and key fit")
        } else {
            config.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }
}

/// What is brought to a door of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// The first half of a hello, and then nothing more.
    HalfHello,
    /// TLS, to speak another protocol inside.
    OtherProtocol,
    /// TLS without a certificate.
    NoCertificate,
    /// A certificate of an authority that nobody knows.
    Stranger,
    /// A node's own certificate, and then a frame that is too long.
    LongFrame,
    /// A node's own certificate, and then what is no HTTP/2.
    NotHttp,
}

impl Knock {
    /// All of them.
    pub const ALL: [Knock; 6] = [
        Knock::HalfHello,
        Knock::OtherProtocol,
        Knock::NoCertificate,
        Knock::Stranger,
        Knock::LongFrame,
        Knock::NotHttp,
    ];

    /// Knocks at the door of the node of that name; whether there was one.
    ///
    /// # Panics
    /// When the papers are none.
    pub fn at(self, door: SocketAddr, name: &str, own: &Papers, forged: &Papers) -> bool {
        let config = match self {
            Knock::HalfHello | Knock::LongFrame | Knock::NotHttp => own.config(true, b"h2"),
            Knock::OtherProtocol => own.config(true, b"spdy/3"),
            Knock::NoCertificate => own.config(false, b"h2"),
            Knock::Stranger => forged.config(true, b"h2"),
        };
        let name = ServerName::try_from(name.to_owned()).expect("names of nodes are such");
        let client = ClientConnection::new(Arc::new(config), name);
        let mut client = client.expect("a client of TLS");
        let Ok(mut tcp) = TcpStream::connect_timeout(&door, PATIENCE) else {
            return false;
        };
        let bounded = tcp.set_read_timeout(Some(PATIENCE));
        bounded.expect("more than zero");
        let said: &[u8] = match self {
            Knock::HalfHello => {
                let mut hello = Vec::new();
                let _ = client.write_tls(&mut hello);
                // The other end may hang up whenever it likes.
                let _ = tcp.write_all(&hello[..hello.len() / 2]);
                return true;
            }
            Knock::LongFrame => &[PREFACE, &LONG_FRAME].concat(),
            Knock::NotHttp => b"GET / HTTP/1.1\r\nHost: tunnel\r\n\r\n",
            Knock::OtherProtocol | Knock::NoCertificate | Knock::Stranger => PREFACE,
        };
        let mut stream = Stream::new(&mut client, &mut tcp);
        let _ = stream.write_all(said);
        // Until it hangs up, so that its reason is its own.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        true
    }
}

/// Datagrams that begin like a call of QUIC version 1 (RFC 9000 §17.2.2) and go on at random; how many were sent.
///
/// # Panics
/// When there is no port to send from.
pub fn half_calls(door: SocketAddr, rng: &mut Rng, count: u64) -> u64 {
    let any: IpAddr = if door.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).expect("any port");
    let mut sent = 0;
    for _ in 0..count {
        let mut bytes = [0; 1_200];
        rng.fill(&mut bytes);
        // A long header of an Initial packet, two connection ids of 8 bytes, no token, the rest as its length.
        let head = [0xc0 | (bytes[0] & 0x0f), 0, 0, 0, 1, 8];
        bytes[..6].copy_from_slice(&head);
        bytes[14] = 8;
        bytes[23] = 0;
        let rest = (0x4000_u16 | (1_200 - 26)).to_be_bytes();
        bytes[24..26].copy_from_slice(&rest);
        sent += u64::from(socket.send_to(&bytes, door).is_ok());
    }
    sent
}

/// Calls by QUIC with these papers from `own`, for so long.
///
/// # Panics
/// When `own` is no address of this machine, or the papers are none.
pub fn call_by_quic(
    papers: &Papers,
    (own, door): (IpAddr, SocketAddr),
    name: &str,
    time: Duration,
) {
    let (runtime, host) = machine();
    let identity = Identity::from_pem(&papers.certificate, &papers.key, &papers.authority);
    let tls = Tls::new(&host, &identity.expect("papers")).expect("they fit");
    runtime.block_on(async {
        let caller = Caller::open(&host, own, &tls, MTU).expect("an address of its own");
        let port = Port::new(&host, CarryLimits::default(), |_| ());
        caller.call(&port, door, name, MTU);
        tokio::time::sleep(time).await;
        port.close();
    });
    runtime.shutdown_background();
}

/// This machine, whose tasks run on the thread that calls alone.
fn machine() -> (Runtime, LiveHost) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let handle = runtime.handle().clone();
    let host = LiveHost::new("stranger", MonotonicClock::start(), Seed(7), handle);
    (runtime, host)
}
