//! Before the transmission: what there is, and what the client wants of it.

use super::wire::{self, info, option, reply, send, take};
use super::{Export, REQUEST_MAX, broken, violation};
use crate::error::Result;
use std::io::{self, Read, Write};

/// The longest data of an option that is read; a name has at most 4096 bytes.
const DATA_MAX: u32 = 8 << 10;
/// The longest data that is skipped, and answered that it is too long.
const SKIP_MAX: u32 = 1 << 20;
/// The most options of one client.
const OPTIONS_MAX: u32 = 256;

/// The sizes of requests: any, preferred, at most.
const BLOCK_SIZES: [u32; 3] = [1, 4096, REQUEST_MAX];

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// The client wants to read and write.
    Transmission,
    /// It has seen what it wanted to see, and said so.
    Aborted,
}

/// What one option leads to.
enum Next {
    Option,
    End(Negotiated),
}

/// Greets a client, and answers its options. An error of kind `Io` is a connection that broke, `Denied` a client that does
/// not keep to the protocol: it is to be closed.
pub fn negotiate<S: Read + Write>(stream: &mut S, export: &Export) -> Result<Negotiated> {
    let server_flags = wire::FIXED_NEWSTYLE | wire::NO_ZEROES;
    let greeting = [&wire::NBDMAGIC.to_be_bytes()[..], &wire::IHAVEOPT.to_be_bytes(), &server_flags.to_be_bytes()];
    send(stream, &greeting)?;
    let client_flags = wire::read_u32(stream)?;
    if client_flags & !u32::from(server_flags) != 0 {
        return Err(violation("it has flags that are not known"));
    }
    if client_flags & u32::from(wire::FIXED_NEWSTYLE) == 0 {
        return Err(violation("it does not know the fixed newstyle handshake"));
    }
    let mut handshake = Handshake { stream, export, pads: client_flags & u32::from(wire::NO_ZEROES) == 0 };
    for _ in 0..OPTIONS_MAX {
        match handshake.option()? {
            Next::Option => {}
            Next::End(end) => return Ok(end),
        }
    }
    Err(violation("it has more than 256 options"))
}

struct Handshake<'a, S> {
    stream: &'a mut S,
    export: &'a Export,
    /// Whether the answer to `EXPORT_NAME` ends with zeros that nobody needs.
    pads: bool,
}

impl<S: Read + Write> Handshake<'_, S> {
    fn option(&mut self) -> Result<Next> {
        if wire::read_u64(self.stream)? != wire::IHAVEOPT {
            return Err(violation("an option does not begin as one"));
        }
        let option = wire::read_u32(self.stream)?;
        let length = wire::read_u32(self.stream)?;
        if length > DATA_MAX {
            return self.skip(option, length);
        }
        let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
        self.stream.read_exact(&mut data).map_err(broken)?;
        match option {
            option::EXPORT_NAME => self.export_name(&data),
            option::ABORT => {
                // It may be gone without waiting for the answer.
                let _ = self.reply(option, reply::ACK, &[]);
                Ok(Next::End(Negotiated::Aborted))
            }
            option::LIST => self.list(&data),
            option::INFO | option::GO => self.info(option, &data),
            _ => self.refuse(option, reply::ERR_UNSUP, "not known here"),
        }
    }

    fn skip(&mut self, option: u32, length: u32) -> Result<Next> {
        if length > SKIP_MAX || option == option::EXPORT_NAME {
            return Err(violation("an option is too long"));
        }
        let mut data = Read::by_ref(self.stream).take(u64::from(length));
        let skipped = io::copy(&mut data, &mut io::sink()).map_err(broken)?;
        if skipped < u64::from(length) {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        self.refuse(option, reply::ERR_TOO_BIG, "too long")
    }

    /// The option of old clients: there is no answer but success, or the end.
    fn export_name(&mut self, name: &[u8]) -> Result<Next> {
        if !name.is_empty() {
            return Err(violation("it wants an export that there is not (the only one has no name)"));
        }
        let size = self.export.device.size().to_be_bytes();
        let zeros = [0; 124];
        let padding = if self.pads { &zeros[..] } else { &[] };
        send(self.stream, &[&size, &self.export.flags().to_be_bytes(), padding])?;
        Ok(Next::End(Negotiated::Transmission))
    }

    fn list(&mut self, data: &[u8]) -> Result<Next> {
        if !data.is_empty() {
            return self.refuse(option::LIST, reply::ERR_INVALID, "LIST takes no data");
        }
        let name_length = 0_u32.to_be_bytes();
        let export = [&name_length[..], self.export.description.as_bytes()].concat();
        self.reply(option::LIST, reply::SERVER, &export)?;
        self.reply(option::LIST, reply::ACK, &[])?;
        Ok(Next::Option)
    }

    fn info(&mut self, option: u32, data: &[u8]) -> Result<Next> {
        let Some((name, wanted)) = parse_info(data) else {
            return self.refuse(option, reply::ERR_INVALID, "the lengths in it do not fit");
        };
        if !name.is_empty() {
            return self.refuse(option, reply::ERR_UNKNOWN, "the only export has no name");
        }
        let size = self.export.device.size().to_be_bytes();
        let flags = self.export.flags().to_be_bytes();
        self.reply(option, reply::INFO, &[&info::EXPORT.to_be_bytes()[..], &size, &flags].concat())?;
        let [least, preferred, most] = BLOCK_SIZES.map(u32::to_be_bytes);
        self.reply(option, reply::INFO, &[&info::BLOCK_SIZE.to_be_bytes()[..], &least, &preferred, &most].concat())?;
        if wanted.contains(&info::NAME) {
            self.reply(option, reply::INFO, &info::NAME.to_be_bytes())?;
        }
        if wanted.contains(&info::DESCRIPTION) {
            let description = [&info::DESCRIPTION.to_be_bytes()[..], self.export.description.as_bytes()].concat();
            self.reply(option, reply::INFO, &description)?;
        }
        self.reply(option, reply::ACK, &[])?;
        Ok(if option == option::GO { Next::End(Negotiated::Transmission) } else { Next::Option })
    }

    fn refuse(&mut self, option: u32, error: u32, why: &str) -> Result<Next> {
        self.reply(option, error, why.as_bytes())?;
        Ok(Next::Option)
    }

    fn reply(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<()> {
        let length = u32::try_from(data.len()).map_err(|_| violation("an answer would be too long"))?;
        let [option, kind, length] = [option, kind, length].map(u32::to_be_bytes);
        send(self.stream, &[&wire::OPTION_REPLY.to_be_bytes(), &option, &kind, &length, data])
    }
}

/// The name and the kinds of information in the data of `INFO` and `GO`; `None` where the lengths do not add up.
fn parse_info(data: &[u8]) -> Option<(&[u8], Vec<u16>)> {
    let mut rest = data;
    let length = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    let (name, mut rest) = rest.split_at_checked(length)?;
    let count = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let kinds: Vec<u16> =
        rest.chunks_exact(2).filter_map(|kind| Some(u16::from_be_bytes(kind.try_into().ok()?))).collect();
    (kinds.len() == count && rest.len() == kinds.len().checked_mul(2)?).then_some((name, kinds))
}
