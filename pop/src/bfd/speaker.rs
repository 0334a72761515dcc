//! Drives the BFD sessions of a machine over a [`Host`]: one socket that listens, one to send by for each neighbour.
//!
//! Only datagrams of a neighbour's address with TTL 255 are believed (RFC 5881 §5). A neighbour's packets find its
//! session by the address, which on a single hop is as good as the discriminator that the session then checks.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use anyedge_net::host::{DatagramMeta, Host, UdpSocket as _};
use anyedge_net::rng::Rng;
use anyedge_net::time::{Deadline, Instant};

use super::{Config, Event, Packet, Session, TTL};

/// The first port to send from, and how many there are (RFC 5881 §4).
const SOURCE_PORTS: (u16, u16) = (49_152, 16_384);
/// How many of them are tried.
const TRIES: u32 = 16;
/// CS6, network control (RFC 4594 §3.2).
const TOS: u8 = 0xc0;
/// More neighbours than any POP has routers.
pub const NEIGHBOURS_MAX: usize = 256;

/// A neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// Where it listens: its address and [`super::PORT`].
    pub remote: SocketAddr,
    /// Its session.
    pub config: Config,
}

/// Keeps a session with each of `neighbours` for ever. `local` is our address and [`super::PORT`]. `observe` is called
/// with each event and the neighbour's address.
///
/// # Errors
/// When no socket can be had.
///
/// # Panics
/// When there are more than [`NEIGHBOURS_MAX`].
pub async fn run<H: Host>(
    host: H,
    local: SocketAddr,
    neighbours: &[Neighbour],
    mut observe: impl FnMut(Instant, IpAddr, &Event) + Send,
) -> io::Result<Infallible> {
    assert!(neighbours.len() <= NEIGHBOURS_MAX, "too many neighbours");
    let listening = host.udp_bind(local)?;
    let mut links = Vec::new();
    for neighbour in neighbours {
        let mut rng = host.rng(&format!("bfd {}", neighbour.remote));
        let sending = bind_source(&host, local.ip(), &mut rng)?;
        links.push(Link::<H> {
            remote: neighbour.remote,
            sending,
            session: Session::new(host.now(), neighbour.config, rng),
        });
    }
    let mut driver = Driver {
        host,
        listening,
        links,
        timer: None,
    };
    Ok(poll_fn(|context| driver.poll(context, &mut observe)).await)
}

fn bind_source<H: Host>(host: &H, address: IpAddr, rng: &mut Rng) -> io::Result<H::Udp> {
    let (first, count) = SOURCE_PORTS;
    let mut tries = 0;
    loop {
        let port = first + rng.below(count.into()) as u16;
        tries += 1;
        match host.udp_bind((address, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Link<H: Host> {
    remote: SocketAddr,
    sending: H::Udp,
    session: Session,
}

struct Driver<H: Host> {
    host: H,
    listening: H::Udp,
    links: Vec<Link<H>>,
    timer: Option<(Instant, Sleep)>,
}

impl<H: Host> Driver<H> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        observe: &mut (impl FnMut(Instant, IpAddr, &Event) + Send),
    ) -> Poll<Infallible> {
        loop {
            // A longer datagram is none of ours, and its length would say so.
            let mut datagram = [0; 64];
            // After an error it is asked again when the timer wakes us, within a second.
            while let Poll::Ready(Ok((length, meta))) =
                self.listening.poll_recv(context, &mut datagram)
            {
                self.take(datagram.get(..length).unwrap_or_default(), meta);
            }
            let now = self.host.now();
            for link in &mut self.links {
                link.session.handle_timeout(now);
                while let Some(packet) = link.session.poll_packet(now) {
                    let meta = DatagramMeta {
                        ttl: TTL,
                        tos: TOS,
                        ..DatagramMeta::to(link.remote)
                    };
                    // Nobody there is what the session finds out by itself.
                    let _ = link.sending.send(&packet.write(), meta);
                }
                while let Some(event) = link.session.poll_event() {
                    observe(now, link.remote.ip(), &event);
                }
            }
            let next = self.links.iter().map(|link| link.session.poll_timeout());
            let next = next.fold(None, Deadline::earlier);
            let Some(at) = next.map(|deadline| deadline.at) else {
                return Poll::Pending;
            };
            if self.timer.as_ref().is_none_or(|(due, _)| *due != at) {
                self.timer = Some((at, Box::pin(self.host.sleep_until(at))));
            }
            let is_due = match &mut self.timer {
                Some((_, sleep)) => sleep.as_mut().poll(context).is_ready(),
                None => false,
            };
            if !is_due {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }

    fn take(&mut self, datagram: &[u8], meta: DatagramMeta) {
        let mut links = self.links.iter_mut();
        let link = links.find(|link| link.remote.ip() == meta.peer.ip());
        if let (TTL, Some(link), Ok(packet)) = (meta.ttl, link, Packet::parse(datagram)) {
            link.session.handle_packet(self.host.now(), &packet);
        }
    }
}
