//! What the bytes of short names mean.
//!
//! Which code page was meant is recorded nowhere. It is 437 here, as in Linux unless it is told otherwise. Only names without a
//! long one depend on it, and none is written that would: what is not ASCII gets a long name, and `_` in its short one.

/// The bytes from 0x80 on.
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// What a byte stands for.
pub(crate) fn character(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        Some(place) => UPPER.chars().nth(usize::from(place)).unwrap_or(char::REPLACEMENT_CHARACTER),
        None => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character() {
        assert_eq!(UPPER.chars().count(), 128);
        assert_eq!((character(b'A'), character(0x81), character(0xff)), ('A', 'ü', '\u{a0}'));
    }
}
