//! The NBD server, by a client that does what it should not.

use imgraft_vfs::block::MemDevice;
use imgraft_vfs::kernel::nbd::{Access, End, Export, Negotiated, negotiate, transmit};
use imgraft_vfs::{ErrorKind, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

const SIZE: usize = 100_000;
const HELLO: [u8; 4] = [0, 0, 0, 3];

const EINVAL: u32 = 22;
const EPERM: u32 = 1;
const ENOSPC: u32 = 28;

fn export(access: Access) -> Export {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 251) as u8).collect();
    Export { device: Arc::new(MemDevice::new(bytes)), access, description: "a volume".to_owned() }
}

/// Sends all this to a handshake, closes, and gives what came back, and how the handshake ended.
fn handshake(sent: &[&[u8]]) -> (Vec<u8>, Result<Negotiated>) {
    let (mut client, mut server) = UnixStream::pair().unwrap();
    let serving = thread::spawn(move || negotiate(&mut server, &export(Access::ReadWrite)));
    // A server that has closed takes no more.
    let _ = client.write_all(&sent.concat());
    let _ = client.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    (answer, serving.join().unwrap())
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    [b"IHAVEOPT", &number.to_be_bytes()[..], &(data.len() as u32).to_be_bytes(), data].concat()
}

/// The answers to options as pairs of the kind and the data.
fn replies(answer: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut rest = &answer[18..];
    let mut replies = Vec::new();
    while !rest.is_empty() {
        assert_eq!(rest[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let length = u32::from_be_bytes(rest[16..20].try_into().unwrap()) as usize;
        replies.push((u32::from_be_bytes(rest[12..16].try_into().unwrap()), rest[20..20 + length].to_vec()));
        rest = &rest[20 + length..];
    }
    replies
}

fn go(name: &[u8], kinds: &[u16]) -> Vec<u8> {
    let kinds_bytes: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    let count = (kinds.len() as u16).to_be_bytes();
    [&(name.len() as u32).to_be_bytes()[..], name, &count, &kinds_bytes].concat()
}

#[test]
fn what_a_client_is_told() {
    let (answer, end) = handshake(&[&HELLO, &option(3, b""), &option(7, &go(b"", &[1, 2, 3]))]);
    assert_eq!(end.unwrap(), Negotiated::Transmission);
    let size = (SIZE as u64).to_be_bytes();
    let flags = (1_u16 | 4 | 8 | 32 | 64 | 256).to_be_bytes();
    let expected: [(u32, Vec<u8>); 7] = [
        (2, [&[0; 4][..], b"a volume"].concat()),
        (1, vec![]),
        (3, [&[0, 0][..], &size, &flags].concat()),
        (3, [&[0, 3][..], &1_u32.to_be_bytes(), &4096_u32.to_be_bytes(), &(32_u32 << 20).to_be_bytes()].concat()),
        (3, vec![0, 1]),
        (3, [&[0, 2][..], b"a volume"].concat()),
        (1, vec![]),
    ];
    assert_eq!(replies(&answer), expected);
    // An old client, which wants the padding too.
    let (answer, end) = handshake(&[&[0, 0, 0, 1], &option(1, b"")]);
    assert_eq!(end.unwrap(), Negotiated::Transmission);
    assert_eq!(answer[18..], [&size[..], &flags, &[0; 124]].concat());
    let (answer, end) = handshake(&[&HELLO, &option(6, &go(b"", &[])), &option(2, b"")]);
    assert_eq!(end.unwrap(), Negotiated::Aborted);
    assert_eq!(replies(&answer).last(), Some(&(1, vec![])));
}

#[test]
fn options_that_are_answered_and_end_nothing() {
    let [unsupported, invalid, unknown, too_big] = [1_u32, 3, 6, 9].map(|number| 0x8000_0000 | number);
    for (sent, kind) in [
        (option(5, b""), unsupported),
        (option(8, b""), unsupported),
        (option(u32::MAX, b"data"), unsupported),
        (option(3, b"data"), invalid),
        (option(6, b""), invalid),
        (option(6, &[255; 6]), invalid),
        (option(6, &go(b"", &[1, 2])[..8]), invalid),
        (option(6, &[&go(b"", &[1])[..], &[0]].concat()), invalid),
        (option(7, &go(b"other", &[])), unknown),
        (option(6, &vec![0; 8193]), too_big),
        (option(9, &vec![0; 1 << 20]), too_big),
    ] {
        let (answer, end) = handshake(&[&HELLO, &sent, &option(7, &go(b"", &[]))]);
        assert_eq!(replies(&answer)[0].0, kind, "{:?}", &sent[..16]);
        assert_eq!(end.unwrap(), Negotiated::Transmission);
    }
}

#[test]
fn what_ends_a_handshake() {
    let many = option(3, b"").repeat(300);
    for (sent, kind) in [
        (&[&b"\0\0\0\0"[..]][..], ErrorKind::Denied),
        (&[&b"\0\0\0\x07"[..]], ErrorKind::Denied),
        (&[&b"\0\0"[..]], ErrorKind::Io),
        (&[&HELLO[..], b"IHAVEOPS\0\0\0\x07"], ErrorKind::Denied),
        (&[&HELLO[..], b"IHAVEOPT\0\0\0\x07\xff\xff\xff\xff"], ErrorKind::Denied),
        (&[&HELLO[..], b"IHAVEOPT\0\0\0\x07\0\x0f\xff\xff and then nothing"], ErrorKind::Io),
        (&[&HELLO[..], b"IHAVEOPT\0\0\0\x07\0\0\0\x09abc"], ErrorKind::Io),
        (&[&HELLO[..], &option(1, b"other")], ErrorKind::Denied),
        (&[&HELLO[..], &many], ErrorKind::Denied),
        (&[&HELLO[..]], ErrorKind::Io),
    ] {
        assert_eq!(handshake(sent).1.unwrap_err().kind(), kind, "{:?}", sent.last().unwrap().get(..16));
    }
}

#[derive(Clone, Copy)]
struct Request {
    flags: u16,
    command: u16,
    offset: u64,
    length: u32,
}

fn header(request: Request, cookie: u64) -> Vec<u8> {
    let Request { flags, command, offset, length } = request;
    [
        &0x2560_9513_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
    ]
    .concat()
}

/// A client in the transmission.
struct Client {
    stream: UnixStream,
    server: Option<thread::JoinHandle<Result<End>>>,
    export: Export,
    cookie: u64,
}

impl Client {
    fn new(access: Access) -> Self {
        let (stream, mut server) = UnixStream::pair().unwrap();
        let export = export(access);
        let served = export.clone();
        let server = thread::spawn(move || transmit(&mut server, &served));
        Self { stream, server: Some(server), export, cookie: 0xfeed_0000_0000_0000 }
    }

    /// The error of the answer, and of a read without one its data.
    fn ask(&mut self, flags: u16, command: u16, offset: u64, length: u32, data: &[u8]) -> (u32, Vec<u8>) {
        self.cookie += 1;
        let request = Request { flags, command, offset, length };
        self.stream.write_all(&[&header(request, self.cookie), data].concat()).unwrap();
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes());
        assert_eq!(reply[8..], self.cookie.to_be_bytes());
        let error = u32::from_be_bytes(reply[4..8].try_into().unwrap());
        let mut answer = vec![0; if command == 0 && error == 0 { length as usize } else { 0 }];
        self.stream.read_exact(&mut answer).unwrap();
        (error, answer)
    }

    fn end(mut self, last: &[u8]) -> Result<End> {
        let _ = self.stream.write_all(last);
        let server = self.server.take().unwrap();
        drop(self.stream);
        server.join().unwrap()
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.export.device.read_at(&mut bytes, offset).unwrap();
        bytes
    }
}

const DISCONNECT: Request = Request { flags: 0, command: 2, offset: 0, length: 0 };

#[test]
fn reads_and_writes() {
    let mut client = Client::new(Access::ReadWrite);
    assert_eq!(client.ask(0, 0, 90_000, 10_000, b""), (0, client.bytes(90_000, 10_000)));
    assert_eq!(client.ask(1, 1, 99_990, 10, b"0123456789"), (0, vec![]));
    assert_eq!(client.ask(0, 0, 99_988, 12, b"").1[2..], *b"0123456789");
    assert_eq!(client.ask(0, 3, 0, 0, b"").0, 0);
    assert_eq!(client.ask(3, 6, 10, 70_000, b"").0, 0);
    assert_eq!(client.bytes(10, 70_000), vec![0; 70_000]);
    assert_ne!(client.bytes(70_010, 1), [0]);
    let before = client.bytes(0, SIZE);
    assert_eq!(client.ask(0, 4, 0, SIZE as u32, b"").0, 0);
    assert_eq!(client.bytes(0, SIZE), before);
    assert_eq!(client.ask(0, 0, SIZE as u64, 0, b"").0, 0);
    assert_eq!(client.end(&header(DISCONNECT, 1)).unwrap(), End::Disconnected);
    assert_eq!(Client::new(Access::ReadWrite).end(b"").unwrap(), End::Vanished);
}

#[test]
fn requests_that_are_refused_and_end_nothing() {
    let mut client = Client::new(Access::ReadWrite);
    let before = client.bytes(0, SIZE);
    let size = SIZE as u64;
    for (flags, command, offset, length, data, error) in [
        (0, 0, size, 1, &b""[..], EINVAL),
        (0, 0, u64::MAX, 2, b"", EINVAL),
        (0, 0, 0, (32 << 20) + 1, b"", EINVAL),
        (0, 0, 0, u32::MAX, b"", EINVAL),
        (2, 0, 0, 1, b"", EINVAL),
        (0, 1, size - 1, 2, b"ab", ENOSPC),
        (0, 1, u64::MAX, 2, b"ab", ENOSPC),
        (128, 1, 0, 2, b"ab", EINVAL),
        (0, 6, 1, u32::MAX, b"", ENOSPC),
        (16, 6, 1, 1, b"", EINVAL),
        (0, 4, size, 1, b"", EINVAL),
        (0, 5, 0, 1, b"", EINVAL),
        (0, 7, 0, 1, b"", EINVAL),
        (0, u16::MAX, 0, 1, b"", EINVAL),
    ] {
        assert_eq!(client.ask(flags, command, offset, length, data).0, error, "{flags} {command} {offset} {length}");
    }
    assert_eq!(client.bytes(0, SIZE), before);
    assert_eq!(client.ask(0, 0, 0, 1, b"").0, 0);

    let mut client = Client::new(Access::ReadOnly);
    let before = client.bytes(0, SIZE);
    for (command, length, data) in [(1, 2, &b"ab"[..]), (6, 2, b""), (4, 2, b"")] {
        assert_eq!(client.ask(0, command, 0, length, data).0, EPERM, "{command}");
    }
    assert_eq!(client.bytes(0, SIZE), before);
}

#[test]
fn what_ends_a_transmission() {
    let write = Request { flags: 0, command: 1, offset: 0, length: 100 };
    let huge = Request { length: (32 << 20) + 1, ..write };
    let cut = [&header(write, 1)[..], b"too little"].concat();
    for (last, kind) in [
        (vec![0; 28], ErrorKind::Denied),
        (header(write, 1)[..20].to_vec(), ErrorKind::Io),
        (cut, ErrorKind::Io),
        (header(huge, 1), ErrorKind::Denied),
    ] {
        let client = Client::new(Access::ReadWrite);
        let (before, device) = (client.bytes(0, SIZE), Arc::clone(&client.export.device));
        assert_eq!(client.end(&last).unwrap_err().kind(), kind);
        let mut after = vec![0; SIZE];
        device.read_at(&mut after, 0).unwrap();
        assert!(after == before, "half a request changes nothing");
    }
}
