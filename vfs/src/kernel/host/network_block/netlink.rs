//! The kernel's interface to its network block devices by generic netlink.
//!
//! Messages are in the byte order of the machine, their parts aligned to four bytes. Source: netlink(7), <linux/genetlink.h>,
//! <linux/nbd-netlink.h>.

use super::{SECTOR, TIMEOUT, Terms};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Lengths of the headers of a message, of generic netlink, and of an attribute, in bytes.
const MESSAGE: usize = 16;
const GENERIC: usize = 4;
const ATTRIBUTE: usize = 4;

/// The most bytes of an answer, and the most answers to one request.
const ANSWER_MAX: usize = 8192;
const ANSWERS_MAX: usize = 16;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Types and flags of messages.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;

/// The family that knows the numbers of the others.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// An attribute that has attributes in it.
const NESTED: u16 = 1 << 15;

/// The commands of the family `nbd`.
mod command {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const DISCONNECT: u8 = 2;
    pub(super) const RECONFIGURE: u8 = 3;
}

/// Its attributes.
mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE_BYTES: u16 = 2;
    pub(super) const BLOCK_SIZE_BYTES: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const CLIENT_FLAGS: u16 = 6;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const DEAD_CONN_TIMEOUT: u16 = 8;
    pub(super) const BACKEND_IDENTIFIER: u16 = 10;
    /// In `SOCKETS`, and in each of these.
    pub(super) const SOCKET_ITEM: u16 = 1;
    pub(super) const SOCKET_FD: u16 = 1;
}

/// The device is disconnected when nobody has it open any longer.
const DISCONNECT_ON_CLOSE: u64 = 2;

/// A conversation with the kernel about network block devices.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    family: u16,
}

impl Netlink {
    /// `None` where the kernel has no such interface: it is not built, or it is in another network namespace.
    pub(super) fn open() -> Result<Option<Self>, Errno> {
        let protocol = Some(netlink::GENERIC);
        let socket = match socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol) {
            Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => return Ok(None),
            socket => socket?,
        };
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        let mut netlink = Self { socket, family: CONTROL };
        let name = attribute(FAMILY_NAME, b"nbd\0");
        let answer = match netlink.ask(GET_FAMILY, &name) {
            Err(Errno::NOENT) => return Ok(None),
            answer => answer?,
        };
        let id = answer.and_then(|answer| value(&answer, FAMILY_ID)).ok_or(Errno::PROTO)?;
        netlink.family = u16::from_ne_bytes(id);
        Ok(Some(netlink))
    }

    /// Connects a free device to a server, or a new one; gives its number. It stays connected until it is told otherwise.
    /// `owner` is a name that the kernel shows in /sys/block/nbdN/backend, and wants to be told again (Linux 5.14).
    pub(super) fn connect(&self, socket: BorrowedFd<'_>, terms: Terms, owner: &str) -> Result<u32, Errno> {
        let descriptor = socket.as_raw_fd().cast_unsigned();
        let item = attribute(attribute::SOCKET_FD, &descriptor.to_ne_bytes());
        let items = attribute(attribute::SOCKET_ITEM | NESTED, &item);
        let attributes = [
            attribute(attribute::SIZE_BYTES, &terms.size.to_ne_bytes()),
            attribute(attribute::BLOCK_SIZE_BYTES, &SECTOR.to_ne_bytes()),
            attribute(attribute::SERVER_FLAGS, &u64::from(terms.flags).to_ne_bytes()),
            attribute(attribute::TIMEOUT, &TIMEOUT.to_ne_bytes()),
            // There is no second server to be waited for.
            attribute(attribute::DEAD_CONN_TIMEOUT, &0_u64.to_ne_bytes()),
            attribute(attribute::BACKEND_IDENTIFIER, &terminated(owner)),
            attribute(attribute::SOCKETS | NESTED, &items),
        ];
        let answer = self.ask(command::CONNECT, &attributes.concat())?;
        let index = answer.and_then(|answer| value(&answer, attribute::INDEX)).ok_or(Errno::PROTO)?;
        Ok(u32::from_ne_bytes(index))
    }

    /// Has the kernel disconnect a device when nobody has it open any longer.
    pub(super) fn disconnect_on_close(&self, index: u32, owner: &str) -> Result<(), Errno> {
        let attributes = [
            attribute(attribute::INDEX, &index.to_ne_bytes()),
            attribute(attribute::CLIENT_FLAGS, &DISCONNECT_ON_CLOSE.to_ne_bytes()),
            attribute(attribute::BACKEND_IDENTIFIER, &terminated(owner)),
        ];
        self.ask(command::RECONFIGURE, &attributes.concat()).map(drop)
    }

    /// Disconnects a device.
    pub(super) fn disconnect(&self, index: u32) -> Result<(), Errno> {
        self.ask(command::DISCONNECT, &attribute(attribute::INDEX, &index.to_ne_bytes())).map(drop)
    }

    /// Asks, and gives the attributes of the answer, where there is one beside the acknowledgement.
    fn ask(&self, command: u8, attributes: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let length = MESSAGE.saturating_add(GENERIC).saturating_add(attributes.len());
        let length = u32::try_from(length).map_err(|_| Errno::MSGSIZE)?;
        let version = 1;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(self.family.to_ne_bytes());
        message.extend((REQUEST | ACKNOWLEDGE).to_ne_bytes());
        // The number of the request, and whose it is, which the kernel knows.
        message.extend([0; 8]);
        message.extend([command, version, 0, 0]);
        message.extend(attributes);
        send(&self.socket, &message, SendFlags::empty())?;
        let mut found = None;
        let mut buffer = vec![0; ANSWER_MAX];
        for _ in 0..ANSWERS_MAX {
            let (_, length) = match recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while let Some((kind, body)) = next_message(&mut rest) {
                if kind != ERROR {
                    found = body.get(GENERIC..).map(<[u8]>::to_vec);
                    continue;
                }
                // The acknowledgement is an error with the number 0.
                let number = body.first_chunk().copied().map(i32::from_ne_bytes).ok_or(Errno::PROTO)?;
                return if number == 0 { Ok(found) } else { Err(Errno::from_raw_os_error(number.saturating_neg())) };
            }
        }
        Err(Errno::PROTO)
    }
}

/// A text as C has it, with its end.
fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// An attribute with its header, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len().saturating_add(ATTRIBUTE)).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The type and the content of the next message.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?);
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let body = rest.get(MESSAGE..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

/// The value of an attribute, where there is one of this type and length.
fn value<const N: usize>(attributes: &[u8], kind: u16) -> Option<[u8; N]> {
    let mut rest = attributes;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let found = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(ATTRIBUTE..length)?;
        if found & !NESTED == kind {
            return value.try_into().ok();
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_again() {
        let all = [attribute(1, b"x"), attribute(2, &7_u16.to_ne_bytes()), attribute(3, &9_u32.to_ne_bytes())].concat();
        assert_eq!(all.len(), 24);
        assert_eq!(value(&all, 2).map(u16::from_ne_bytes), Some(7));
        assert_eq!(value(&all, 3).map(u32::from_ne_bytes), Some(9));
        assert_eq!(value::<4>(&all, 2), None, "of another length");
        assert_eq!(value::<4>(&all, 4), None);
    }

    #[test]
    fn what_is_cut_off_ends() {
        let all = [attribute(1, b"x"), attribute(3, &9_u32.to_ne_bytes())].concat();
        for len in 0..all.len() {
            assert_eq!(value::<4>(&all[..len], 3), None, "{len} bytes");
        }
        // A length that leads nowhere.
        assert_eq!(value::<4>(&[0; 64], 3), None);
        let mut nothing = &[0; 64][..];
        assert_eq!(next_message(&mut nothing), None);
    }

    #[test]
    fn this_kernel_answers() {
        // Whether it has the family or not.
        match Netlink::open() {
            Ok(Some(netlink)) => assert!(netlink.family >= CONTROL),
            Ok(None) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}
