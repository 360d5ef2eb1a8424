//! The back end of a disk before front ends that keep to the protocol, and such that do not.

use super::connection::Connection;
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Where the guest has its memory, and how much: bytes.
const BASE: u64 = 0x10_0000;
const MEMORY: u64 = 1 << 20;
/// Places in it.
const DESCRIPTORS: u64 = BASE;
const AVAILABLE: u64 = BASE + 0x1000;
const USED: u64 = BASE + 0x2000;
const HEAD: u64 = BASE + 0x3000;
const STATUS: u64 = BASE + 0x3100;
const DATA: u64 = BASE + 0x4000;
const QUEUE: u16 = 8;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A front end: the guest's driver, memory and all.
struct Front {
    stream: UnixStream,
    memory: File,
    kick: File,
    call: UnixStream,
    volume: Arc<MemDevice>,
    failure: Arc<Mutex<Option<Error>>>,
    connection: JoinHandle<Result<()>>,
    made: u16,
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}

impl Front {
    /// Connected, and nothing said.
    fn connected() -> Self {
        let (stream, far) = UnixStream::pair().unwrap();
        let volume = Arc::new(MemDevice::new((0..1 << 16).map(|at| (at / 512) as u8).collect::<Vec<u8>>()));
        let failure = Arc::default();
        let mut connection = Connection::new(far, Arc::clone(&volume) as Arc<dyn BlockDevice>, Arc::clone(&failure));
        let memory = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let (call, _) = UnixStream::pair().unwrap();
        let kick = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let connection = std::thread::spawn(move || connection.run());
        Self { stream, memory, kick: File::from(kick), call, volume, failure, connection, made: 0 }
    }

    /// Ready for requests.
    fn ready() -> Self {
        let mut front = Self::connected();
        front.tell(3, &[], None);
        assert_eq!(front.ask(1, &[]), longs(&[1 << 30 | 1 << 32 | 1 << 2]));
        front.tell(2, &longs(&[1 << 32]), None);
        front.set_up();
        front
    }

    fn set_up(&mut self) {
        let region = [words(&[1, 0]), longs(&[BASE, MEMORY, BASE, 0])].concat();
        let memory = self.memory.try_clone().unwrap();
        self.tell(5, &region, Some(&memory));
        self.tell(8, &words(&[0, QUEUE.into()]), None);
        self.tell(10, &words(&[0, 0]), None);
        self.tell(9, &[words(&[0, 0]), longs(&[DESCRIPTORS, USED, AVAILABLE, u64::MAX])].concat(), None);
        let (call, end) = UnixStream::pair().unwrap();
        self.call = call;
        self.tell(13, &longs(&[0]), Some(&File::from(std::os::fd::OwnedFd::from(end))));
        let kick = self.kick.try_clone().unwrap();
        self.tell(12, &longs(&[0]), Some(&kick));
    }

    fn tell(&mut self, request: u32, payload: &[u8], file: Option<&File>) {
        let bytes = [words(&[request, 1, payload.len() as u32]), payload.to_vec()].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = file.map(|file| [file.as_fd()]);
        if let Some(files) = &files {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        }
        // A connection that has ended does not listen; the end is what is tested then.
        let _ = sendmsg(&self.stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
    }

    fn ask(&mut self, request: u32, payload: &[u8]) -> Vec<u8> {
        self.tell(request, payload, None);
        let mut header = [0; 12];
        self.stream.read_exact(&mut header).unwrap();
        let [a, b, c, d] = *header.last_chunk().unwrap();
        assert_eq!(header[..8], words(&[request, 5]));
        let mut answer = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
        self.stream.read_exact(&mut answer).unwrap();
        answer
    }

    fn set(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at - BASE).unwrap();
    }

    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, at - BASE).unwrap();
        bytes
    }

    fn descriptor(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let bytes =
            [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat();
        self.set(DESCRIPTORS + u64::from(index) * 16, &bytes);
    }

    fn head(&self, kind: u32, sector: u64) {
        self.set(HEAD, &[words(&[kind, 0]), longs(&[sector])].concat());
    }

    /// Makes the chain at descriptor 0 available.
    fn kick(&mut self) {
        self.set(AVAILABLE + 4 + u64::from(self.made % QUEUE) * 2, &0_u16.to_le_bytes());
        self.made += 1;
        self.set(AVAILABLE + 2, &self.made.to_le_bytes());
        self.kick.write_all(&1_u64.to_ne_bytes()).unwrap();
    }

    /// Has a request of three pieces done; gives its status and how much was written.
    fn request(&mut self, kind: u32, sector: u64, data: (u64, u32, u16)) -> (u8, u32) {
        self.head(kind, sector);
        self.set(STATUS, &[0xee]);
        self.descriptor(0, HEAD, 16, NEXT, 1);
        self.descriptor(1, data.0, data.1, data.2 | NEXT, 2);
        self.descriptor(2, STATUS, 1, WRITE, 0);
        self.kick();
        let mut count = [0; 8];
        self.call.read_exact(&mut count).unwrap();
        let index = u16::from_le_bytes(self.get(USED + 2));
        assert_eq!(index, self.made);
        let [_, _, _, _, a, b, c, d]: [u8; 8] = self.get(USED + 4 + u64::from((index - 1) % QUEUE) * 8);
        (self.get::<1>(STATUS)[0], u32::from_le_bytes([a, b, c, d]))
    }

    fn ends(self) -> Result<()> {
        // What it still says is not read; the connection has to end by itself.
        drop(self.kick);
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self.connection.join().unwrap()
    }
}

#[test]
fn a_disk_is_read_and_written() {
    let mut front = Front::ready();
    let config = front.ask(24, &[words(&[0, 24, 0]), vec![0; 24]].concat());
    assert_eq!(config[12..20], 128_u64.to_le_bytes());
    assert_eq!(config[24..28], 126_u32.to_le_bytes());
    for round in 0..20_u64 {
        let sector = round * 5;
        assert_eq!(front.request(0, sector, (DATA, 1024, WRITE)), (0, 1025));
        let read: [u8; 1024] = front.get(DATA);
        assert!(read[..512].iter().all(|byte| *byte == sector as u8) && read[512] == sector as u8 + 1);
    }
    front.set(DATA, &[0x77; 512]);
    assert_eq!(front.request(1, 9, (DATA, 512, 0)), (0, 1));
    let mut written = [0; 1024];
    front.volume.read_at(&mut written, 9 * 512).unwrap();
    assert!(written[..512].iter().all(|byte| *byte == 0x77) && written[512] == 10);
    assert_eq!(front.request(8, 0, (DATA, 512, 0)), (2, 1), "a request that is not known");
    assert_eq!(front.ask(11, &words(&[0, 0])), words(&[0, 22]));
    front.ends().unwrap();
}

#[test]
fn an_interrupt_that_nobody_takes_keeps_nobody() {
    let mut front = Front::ready();
    // It waits, and is full; its reader is there and does not read.
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[0; 512]).is_ok() {}
    writer.set_nonblocking(false).unwrap();
    front.tell(13, &longs(&[0]), Some(&File::from(std::os::fd::OwnedFd::from(writer))));
    // An answer to a message shows that what came before it is done.
    front.ask(1, &[]);
    for _ in 0..3 {
        front.head(0, 0);
        front.descriptor(0, HEAD, 16, NEXT, 1);
        front.descriptor(1, DATA, 512, NEXT | WRITE, 2);
        front.descriptor(2, STATUS, 1, WRITE, 0);
        front.kick();
        front.ask(1, &[]);
    }
    assert_eq!(u16::from_le_bytes(front.get(USED + 2)), 3);
    front.ends().unwrap();
    drop(reader);
}

#[test]
fn descriptors_of_the_wrong_kind_end_the_connection() {
    let event = || File::from(rustix::event::eventfd(u32::MAX, rustix::event::EventfdFlags::CLOEXEC).unwrap());
    let file = || File::from(memfd_create("file", MemfdFlags::CLOEXEC).unwrap());
    let region = || [words(&[1, 0]), longs(&[BASE, MEMORY, BASE, 0])].concat();
    for (what, request, payload, descriptor) in [
        ("a kick that is a file", 12, longs(&[0]), file()),
        ("an interrupt that is no socket", 13, longs(&[0]), event()),
        ("an interrupt that is a file", 13, longs(&[0]), file()),
        ("memory that is no file", 5, region(), event()),
    ] {
        let mut front = Front::connected();
        front.tell(request, &payload, Some(&descriptor));
        assert_eq!(front.ends().expect_err(what).kind(), ErrorKind::Corrupt, "{what}");
    }
}

#[test]
fn a_request_that_cannot_be_done_fails_and_is_remembered() {
    for (kind, sector, data) in [
        (0, 127, (DATA, 1024, WRITE)),
        (1, 128, (DATA, 512, 0)),
        (0, u64::MAX, (DATA, 512, WRITE)),
        (0, u64::MAX / 512, (DATA, 512, WRITE)),
        (0, 0, (DATA, 512, 0)),
        (1, 0, (DATA, 512, WRITE)),
        (0, 0, (BASE + MEMORY - 100, 512, WRITE)),
        (0, 0, (0, 512, WRITE)),
        (0, 0, (u64::MAX, 512, WRITE)),
        (0, 0, (DATA, u32::MAX, WRITE)),
    ] {
        let mut front = Front::ready();
        assert_eq!(front.request(kind, sector, data).0, 1, "{kind} {sector} {data:?}");
        assert!(front.failure.lock().unwrap().is_some());
        front.ends().unwrap();
    }
}

#[test]
fn a_queue_that_is_wrong_ends_the_connection() {
    type Break = fn(&mut Front);
    let breaks: [(&str, Break); 10] = [
        ("a chain that is a circle", |front| front.descriptor(1, DATA, 512, NEXT, 0)),
        ("a chain that leaves the table", |front| front.descriptor(1, DATA, 512, NEXT, QUEUE)),
        ("an indirect table", |front| front.descriptor(0, HEAD, 16, 4, 0)),
        ("no status", |front| front.descriptor(0, HEAD, 16, 0, 0)),
        ("a short head", |front| front.descriptor(0, HEAD, 15, NEXT, 1)),
        ("a head outside of memory", |front| front.descriptor(0, BASE + MEMORY, 16, NEXT, 1)),
        ("a status outside of memory", |front| front.descriptor(2, 0, 1, WRITE, 0)),
        ("a status that is given", |front| front.descriptor(2, STATUS, 1, 0, 0)),
        ("more requests than there is room for", |front| front.made = QUEUE),
        ("a head that is none", |front| front.set(AVAILABLE + 4, &9_u16.to_le_bytes())),
    ];
    for (what, harm) in breaks {
        let mut front = Front::ready();
        front.head(0, 0);
        front.descriptor(0, HEAD, 16, NEXT, 1);
        front.descriptor(1, DATA, 512, NEXT | WRITE, 2);
        front.descriptor(2, STATUS, 1, WRITE, 0);
        harm(&mut front);
        if what == "a head that is none" {
            front.set(AVAILABLE + 2, &1_u16.to_le_bytes());
            front.kick.write_all(&1_u64.to_ne_bytes()).unwrap();
        } else {
            front.kick();
        }
        let mut nothing = [0; 8];
        assert!(front.call.read_exact(&mut nothing).is_err(), "{what}: the connection goes on");
        assert_eq!(front.ends().expect_err(what).kind(), ErrorKind::Corrupt, "{what}");
    }
}

#[test]
fn messages_that_are_wrong_end_the_connection() {
    let region = |count: u32, start: u64| [words(&[count, 0]), longs(&[start, MEMORY, start, 0])].concat();
    for (what, request, payload) in [
        ("an unknown request", 26, vec![]),
        ("a feature that was not offered", 2, longs(&[1 << 5])),
        ("a short payload", 2, vec![0; 7]),
        ("a long payload", 2, vec![0; 600]),
        ("memory without files", 5, region(1, BASE)),
        ("a thousand regions", 5, region(1000, BASE)),
        ("an odd queue", 8, words(&[0, 7])),
        ("no queue", 8, words(&[0, 0])),
        ("a huge queue", 8, words(&[0, 1 << 15])),
        ("a second queue", 8, words(&[1, 8])),
        ("a start past the end", 10, words(&[0, 1 << 16])),
        ("rings outside of memory", 9, [words(&[0, 0]), longs(&[1, 2, 3, 4])].concat()),
        ("a kick of a second queue", 12, longs(&[1])),
        ("a configuration that contradicts itself", 24, [words(&[0, 100, 0]), vec![0; 8]].concat()),
    ] {
        let mut front = Front::connected();
        front.tell(request, &payload, None);
        assert_eq!(front.ends().expect_err(what).kind(), ErrorKind::Corrupt, "{what}");
    }
    let mut front = Front::connected();
    front.stream.write_all(&[1, 0, 0]).unwrap();
    assert!(front.ends().is_err(), "half a message");
    Front::connected().ends().unwrap();
}

#[test]
fn memory_that_is_not_what_it_says_ends_the_connection() {
    // A region that is longer than its file, and one whose numbers overflow.
    for (size, offset) in [(MEMORY, MEMORY), (u64::MAX, u64::MAX - 10)] {
        let mut front = Front::connected();
        let region = [words(&[1, 0]), longs(&[BASE, size, BASE, offset])].concat();
        let memory = front.memory.try_clone().unwrap();
        front.tell(5, &region, Some(&memory));
        front.tell(8, &words(&[0, QUEUE.into()]), None);
        front.tell(9, &[words(&[0, 0]), longs(&[DESCRIPTORS, USED, AVAILABLE, 0])].concat(), None);
        let kick = front.kick.try_clone().unwrap();
        front.tell(12, &longs(&[0]), Some(&kick));
        front.kick.write_all(&1_u64.to_ne_bytes()).unwrap();
        let mut nothing = [0; 1];
        assert_eq!(front.stream.read(&mut nothing).unwrap_or(0), 0, "it has ended");
        assert!(front.ends().is_err());
    }
}
