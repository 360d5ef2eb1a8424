//! How the parts of a message are spelt: integers little-endian, bytes and lists behind their length in 32 bits.

/// How many items a list has at most, so that a short message cannot become a large tree.
const ITEMS_MAX: u32 = 1 << 20;

/// What is left of a message to be read.
#[derive(Debug)]
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    fn part(&mut self, len: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(part)
    }
}

/// A part of a message.
pub(super) trait Part: Sized {
    /// Adds it to a message.
    fn write(&self, to: &mut Vec<u8>);
    /// Takes it from a message; `None` where it is not there.
    fn read(from: &mut Rest<'_>) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Part for $type {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn read(from: &mut Rest<'_>) -> Option<Self> {
                let bytes = from.part(size_of::<Self>())?;
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i64);

/// A structure, field by field.
macro_rules! structure {
    ($type:ty { $($field:ident),* }) => {
        impl Part for $type {
            fn write(&self, to: &mut Vec<u8>) {
                $(self.$field.write(to);)*
            }
            fn read(from: &mut Rest<'_>) -> Option<Self> {
                Some(Self { $($field: Part::read(from)?),* })
            }
        }
    };
}

/// An enumeration whose variants hold parts, each behind its number.
macro_rules! choice {
    ($type:ident { $($number:literal $variant:ident $(($($part:ident),*))?,)* }) => {
        impl Part for $type {
            fn write(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($($part),*))? => {
                        let number: u8 = $number;
                        number.write(to);
                        $($($part.write(to);)*)?
                    })*
                }
            }
            fn read(from: &mut Rest<'_>) -> Option<Self> {
                match u8::read(from)? {
                    $($number => {
                        $($(let $part = Part::read(from)?;)*)?
                        Some(Self::$variant $(($($part),*))?)
                    })*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use {choice, structure};

impl Part for Vec<u8> {
    fn write(&self, to: &mut Vec<u8>) {
        length(self.len()).write(to);
        to.extend_from_slice(self);
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        let len = u32::read(from)?;
        Some(from.part(usize::try_from(len).ok()?)?.to_vec())
    }
}

impl Part for String {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_bytes().to_vec().write(to);
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        Self::from_utf8(Vec::read(from)?).ok()
    }
}

impl<T: Part> Part for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        u8::from(self.is_some()).write(to);
        if let Some(part) = self {
            part.write(to);
        }
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(None),
            1 => Some(Some(T::read(from)?)),
            _ => None,
        }
    }
}

/// A list. Not for bytes, which go in one piece.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T: Part> Part for List<T> {
    fn write(&self, to: &mut Vec<u8>) {
        length(self.0.len()).write(to);
        for item in &self.0 {
            item.write(to);
        }
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        let count = u32::read(from)?;
        if count > ITEMS_MAX {
            return None;
        }
        // No room is made for what is only promised.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::read(from)?);
        }
        Some(Self(items))
    }
}

/// A length as it is written; what is longer than a message can be does not arrive anyway.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
