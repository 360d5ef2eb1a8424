//! What the near end makes of a far end that lies.

use super::client::Remote;
use super::codec::List;
use super::wire::{Answer, Failed, Mount, Place, Request, decode, encode};
use super::{Channel, Keeper, serve};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::mem::MemFs;
use crate::fs::{Attrs, DirEntry, FileType, GuestFs, Lookup, Metadata, Timestamp, Xattr, read_file};
use crate::path::Resolved;
use crate::volume::Signature;
use std::collections::VecDeque;

/// Answers what it was told to, whatever the question.
#[derive(Debug, Default)]
struct Parrot(VecDeque<Vec<u8>>);

impl Channel for Parrot {
    fn send(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        self.0.pop_front().ok_or_else(|| Error::new(ErrorKind::Io, Layer::Filesystem, "nobody is there"))
    }

    fn finish(self) -> Result<()> {
        Err(Error::new(ErrorKind::Io, Layer::Host, "something else went wrong"))
    }
}

fn mounted(answers: impl IntoIterator<Item = Vec<u8>>) -> Remote<Parrot> {
    let parrot = Parrot([welcome()].into_iter().chain(answers).collect());
    Remote::mount(parrot, &asked("mem")).unwrap().0
}

fn welcome() -> Vec<u8> {
    let place = Place { kernel: "Linux 6\x07".to_owned(), subvolume: Some("@".to_owned()) };
    encode(&Answer::Mounted(MemFs::new().features(), place))
}

fn asked(name: &'static str) -> Mount {
    let signature = Signature { name, label: "label".to_owned(), uuid: String::new() };
    Mount { signature, now: Some(Timestamp::default()) }
}

fn metadata() -> Metadata {
    Metadata {
        file_type: FileType::Regular,
        mode: 0o644,
        uid: 1,
        gid: 2,
        size: 3,
        links: 1,
        inode: 5,
        mtime: Timestamp { seconds: -6, nanoseconds: 7 },
    }
}

fn entry(name: &[u8]) -> Vec<u8> {
    encode(&Answer::Entries(List(vec![DirEntry { name: name.to_vec(), file_type: FileType::Regular }])))
}

fn xattrs(pairs: &[(&str, usize)]) -> Vec<u8> {
    let xattrs = pairs.iter().map(|(name, len)| Xattr { name: name.as_bytes().to_vec(), value: vec![0; *len] });
    encode(&Answer::Xattrs(List(xattrs.collect())))
}

#[test]
fn impossible_answers_are_refused() {
    let root = Resolved::root();
    let corrupt = |what: &str, result: Result<()>| {
        assert_eq!(result.expect_err(what).kind(), ErrorKind::Corrupt, "{what}");
    };
    let found = |change: fn(&mut Metadata)| {
        let mut metadata = metadata();
        change(&mut metadata);
        mounted([encode(&Answer::Found(Some(metadata)))]).lookup(&Resolved::root())
    };
    found(|_| ()).unwrap();
    corrupt("a mode of a type", found(|metadata| metadata.mode = 0o10000).map(drop));
    corrupt("a second of a second", found(|metadata| metadata.mtime.nanoseconds = 1_000_000_000).map(drop));
    mounted([entry(b"a")]).read_dir(&root).unwrap();
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
        corrupt("a name", mounted([entry(name)]).read_dir(&root).map(drop));
    }
    mounted([xattrs(&[("user.a", 65_536), ("user.b", 0)])]).xattrs(&root).unwrap();
    for pairs in [&[("user.b", 0), ("user.a", 0)][..], &[("user.a", 65_537)], &[("", 1)], &[("user.\0", 1)]] {
        corrupt("an attribute", mounted([xattrs(pairs)]).xattrs(&root).map(drop));
    }
    let bytes = |len: usize| encode(&Answer::Bytes(vec![0; len]));
    corrupt("more than was asked", mounted([bytes(11)]).read_at(&root, &mut [0; 10], 0).map(drop));
    corrupt("a long target", mounted([bytes(4096)]).read_link(&root).map(drop));
    let attrs = Attrs { mode: 0, uid: 0, gid: 0 };
    corrupt("another answer", mounted([bytes(0)]).create_file(&root, attrs));
    corrupt("another answer", mounted([encode(&Answer::Done)]).lookup(&root).map(drop));
    corrupt("more than an answer", mounted([[encode(&Answer::Done), vec![0]].concat()]).create_file(&root, attrs));
    corrupt("no answer", mounted([vec![]]).create_file(&root, attrs));
    assert_eq!(mounted([]).lookup(&root).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn no_answer_makes_it_panic_or_take_much_memory() {
    let answers = [
        welcome(),
        encode(&Answer::Found(Some(metadata()))),
        xattrs(&[("user.a", 30), ("user.b", 0)]),
        entry(b"some name"),
        encode(&Answer::Failed(Failed::from(&Error::new(ErrorKind::Io, Layer::Host, "message").with_hint("hint")))),
    ];
    for answer in &answers {
        for at in 0..answer.len() {
            assert!(decode::<Answer>(&answer[..at]).is_err(), "a message that is cut off");
            for byte in [0, 1, 0x7f, 0xff] {
                let mut damaged = answer.clone();
                damaged[at] = byte;
                // It is decoded or refused.
                let _ = decode::<Answer>(&damaged).is_ok();
            }
        }
    }
    // A list of two million empty things, and one that says so of itself and ends.
    let mut list = encode(&Answer::Entries(List(Vec::new())));
    list.truncate(1);
    list.extend_from_slice(&2_000_000_u32.to_le_bytes());
    assert!(decode::<Answer>(&list).is_err());
    list.extend(std::iter::repeat_n(0, 12_000_000));
    assert!(decode::<Answer>(&list).is_err());
}

#[test]
fn an_error_arrives_with_its_reason_and_without_control_characters() {
    let cause = std::io::Error::other("the cause\x1b[31m");
    let sent = Error::new(ErrorKind::NoSpace, Layer::Filesystem, "no\nroom").with_hint("buy\tmore").with_source(cause);
    let at = Resolved::root();
    let got = mounted([encode(&Answer::Failed(Failed::from(&sent)))]).remove(&at).unwrap_err();
    assert_eq!(format!("{got:?}"), "Filesystem/NoSpace: /: no room: the cause [31m");
    assert_eq!(got.hint(), Some("buy more"));
}

/// A channel whose both ends are here: the far end has answered before the near end asks for the answer.
struct Shelf;

impl Keeper for Shelf {
    fn open(&mut self, mount: &Mount) -> Result<(Box<dyn GuestFs>, Place)> {
        match mount.signature.name {
            "mem" => Ok((Box::new(MemFs::builder().file("/f", vec![7; 600_000]).build().unwrap()), Place::default())),
            _ => Err(Error::unsupported(Layer::Filesystem, "of another kind")),
        }
    }

    fn close(&mut self, _: Box<dyn GuestFs>) -> Result<()> {
        Err(Error::new(ErrorKind::Io, Layer::Filesystem, "it does not let go"))
    }
}

/// Keeps what was sent, to be received.
#[derive(Debug)]
struct Tape {
    questions: VecDeque<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

impl Channel for Tape {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.answers.push(message.to_vec());
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        self.questions.pop_front().ok_or_else(|| Error::new(ErrorKind::Io, Layer::Filesystem, "nobody is there"))
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

fn played(questions: impl IntoIterator<Item = Request>) -> (Result<()>, Vec<Vec<u8>>) {
    let mut tape = Tape { questions: questions.into_iter().map(|request| encode(&request)).collect(), answers: vec![] };
    (serve(&mut tape, &mut Shelf), tape.answers)
}

fn mount(name: &'static str) -> Request {
    Request::Mount(asked(name))
}

#[test]
fn the_far_end_keeps_to_the_order_and_passes_errors_on() {
    let file = Resolved::root().child(b"f");
    let (ended, answers) = played([mount("mem"), Request::ReadAt(file.clone(), 0, u32::MAX), Request::Close]);
    ended.unwrap();
    let fs = mounted(answers.into_iter().skip(1));
    assert_eq!(fs.read_at(&file, &mut vec![0; 600_000], 0).unwrap_err().kind(), ErrorKind::Corrupt, "more than asked");
    assert_eq!(Box::new(fs).close().unwrap_err().message(), "it does not let go");
    let (ended, answers) = played([mount("swap")]);
    ended.unwrap();
    assert!(matches!(decode(&answers[0]).unwrap(), Answer::Failed(_)));
    for questions in [vec![Request::Close], vec![mount("mem"), mount("mem")], vec![]] {
        assert!(played(questions).0.is_err());
    }
}

#[test]
fn a_file_is_read_in_pieces() {
    let piece = |len: usize, byte: u8| encode(&Answer::Bytes(vec![byte; len]));
    let found = Metadata { size: 600_000, ..metadata() };
    let found = encode(&Answer::Found(Some(found)));
    let fs = mounted([found, piece(256 << 10, 1), piece(256 << 10, 2), piece(600_000 - (512 << 10), 3)]);
    let read = read_file(&fs, &Resolved::root(), 1 << 20).unwrap();
    assert_eq!((read[0], read[256 << 10], read[599_999], read.len()), (1, 2, 3, 600_000));
}

#[test]
fn what_goes_wrong_beside_the_messages_is_said_at_the_end() {
    let fs = Box::new(mounted([encode(&Answer::Done)]));
    assert_eq!(fs.close().unwrap_err().message(), "something else went wrong");
    let parrot = Parrot([welcome()].into());
    let (_, place) = Remote::mount(parrot, &asked("mem")).unwrap();
    assert_eq!(place, Place { kernel: "Linux 6 ".to_owned(), subvolume: Some("@".to_owned()) });
}
