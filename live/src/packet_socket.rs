//! The kernel's side of one interface, without its IP layer: what is sent here the device transmits as it is, and
//! what the device brings in can be read before any rule of routing looks at it.
//!
//! On a TUN device this is the wire: a packet sent here is the next that the device's owner reads, and what the owner
//! writes arrives here, whatever its addresses, TTL and checksums. Never blocks. Reference: packet(7).

use std::io::{ErrorKind, IoSliceMut, Read, Result as IoResult};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel may keep for us while we are busy, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Longer than this nothing waits here; a larger difference means that the machine's clock was set meanwhile.
const AGE_MAX: Duration = Duration::from_millis(100);

/// An open socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    /// Where the kernel says when a frame came.
    stamp: Vec<u8>,
}

impl PacketSocket {
    /// Opens it on `interface` of the calling thread's namespace, for IP packets without their frames.
    pub fn open(interface: &str) -> Result<Self> {
        Self::open_as(interface, Type::DGRAM)
    }

    /// The same for whole frames, with the times at which they came: [`Self::recv_frame`].
    pub fn open_frames(interface: &str) -> Result<Self> {
        let own = Self::open_as(interface, Type::RAW)?;
        setsockopt(&own.socket, ReceiveTimestampns, &true)
            .context("cannot ask when frames came in")?;
        Ok(own)
    }

    fn open_as(interface: &str, kind: Type) -> Result<Self> {
        let index = if_nametoindex(interface)
            .with_context(|| format!("there is no interface `{interface}`"))?;
        let index = libc::c_int::try_from(index).context("no interface has such a number")?;
        // Protocol 0: nothing is taken in before the socket is bound to its interface.
        let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))
            .context("cannot open a packet socket (this needs root)")?;
        socket.set_nonblocking(true)?;
        // As much as the system allows; less only loses more under load.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        ignore_outgoing(&socket).context("cannot ask for what comes in alone")?;
        bind(&socket, index).with_context(|| format!("cannot bind to {interface}"))?;
        Ok(Self {
            socket,
            stamp: cmsg_space!(TimeSpec),
        })
    }

    /// Lets the device transmit one packet.
    pub fn send(&self, packet: &[u8]) -> IoResult<()> {
        self.socket.send(packet).map(|_| ())
    }

    /// The next packet's length, its bytes at the front of `buffer`; `None` when none waits. A packet longer than
    /// `buffer` is cut.
    pub fn recv(&self, buffer: &mut [u8]) -> IoResult<Option<usize>> {
        match (&self.socket).read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The next frame's length, its bytes at the front of `buffer`, and for how long it has been waiting here; `None`
    /// when none waits.
    pub fn recv_frame(&mut self, buffer: &mut [u8]) -> IoResult<Option<(usize, Duration)>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let read = recvmsg::<()>(
            fd,
            &mut parts,
            Some(&mut self.stamp),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match read {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let came = message.cmsgs()?.find_map(|told| match told {
            ControlMessageOwned::ScmTimestampns(came) => Some(Duration::from(came)),
            _ => None,
        });
        // The kernel's stamps are of the clock that can be set.
        let came = came.and_then(|came| SystemTime::UNIX_EPOCH.checked_add(came));
        let age = came.and_then(|came| came.elapsed().ok());
        let age = age.filter(|age| *age <= AGE_MAX).unwrap_or_default();
        Ok(Some((message.bytes, age)))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Leaves out what others send by the interface.
#[expect(unsafe_code, reason = "no safe crate has this option")]
fn ignore_outgoing(socket: &Socket) -> IoResult<()> {
    let yes: libc::c_int = 1;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `yes`'s own size from its address.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            std::ptr::from_ref(&yes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    outcome(code)
}

/// Binds to one interface and every protocol.
#[expect(unsafe_code, reason = "no safe crate makes a link-layer address")]
fn bind(socket: &Socket, index: libc::c_int) -> IoResult<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `address`'s own size from its address.
    let code = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    outcome(code)
}

fn outcome(code: libc::c_int) -> IoResult<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
