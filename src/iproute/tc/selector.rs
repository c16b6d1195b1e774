//! What u32 compares (tc-u32(8), "SELECTOR"): masks on the packet's 32-bit words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::grammar::{number, pick, read};
use super::ids::{IPV4, IPV6};
use super::units::{hexadecimal, signed};
use crate::iproute::{Words, WordsError, address};
use crate::model::types::Family;

/// TC_U32_* (linux/pkt_cls.h)
pub const TERMINAL: u8 = 1;
/// A fixed offset to the next header.
pub const OFFSET: u8 = 2;
/// One that is read from the packet.
pub const VAR_OFFSET: u8 = 4;
/// The header is eaten.
pub const EAT: u8 = 8;
/// The most keys that tc sends.
const KEYS: usize = 128;

/// `struct tc_u32_key`; value and mask in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Which bits count.
    pub mask: u32,
    /// What they have to be.
    pub value: u32,
    /// Where, from the network header.
    pub offset: i32,
    /// -1: from the next header.
    pub offset_mask: i32,
}

/// `struct tc_u32_sel`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// TC_U32_*
    pub flags: u8,
    /// How far the offset read from the packet is shifted.
    pub shift: u8,
    /// Its mask.
    pub offset_mask: u16,
    /// The fixed offset.
    pub offset: u16,
    /// Where the offset is read.
    pub offset_at: i16,
    /// Where the hash is read.
    pub hash_at: i16,
    /// Its mask.
    pub hash_mask: u32,
    /// What is compared.
    pub keys: Vec<Key>,
}

/// Where a value is: bytes from the network header, or from the next one.
#[derive(Clone, Copy)]
struct At {
    offset: i32,
    next: bool,
}

const fn at(offset: i32) -> At {
    At { offset, next: false }
}

const fn next(offset: i32) -> At {
    At { offset, next: true }
}

fn illegal(what: &str) -> WordsError {
    WordsError::Bad(format!("filter u32: match {what}"))
}

/// `mark VALUE MASK`, which is no key.
pub type Mark = (u32, u32);

impl Selector {
    /// What is behind `match`. A mark is given back.
    ///
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub fn parse(&mut self, words: &mut Words<'_>) -> Result<Option<Mark>, WordsError> {
        let word = words.value("match")?;
        let list = ["u32", "u16", "u8", "ip", "ip6", "udp", "tcp", "icmp", "mark", "ether"];
        match pick(word, &list).ok_or_else(|| words.unknown(word))? {
            "u32" => self.bits(words, 32, at(0))?,
            "u16" => self.bits(words, 16, at(0))?,
            "u8" => self.bits(words, 8, at(0))?,
            "ip" => self.ip(words)?,
            "ip6" => self.ip6(words)?,
            "icmp" => self.field(words, &[("type", 8, next(0)), ("code", 8, next(1))])?,
            "mark" => return mark(words).map(Some),
            "ether" => self.ether(words)?,
            _ => self.field(words, &[("src", 16, next(0)), ("dst", 16, next(2))])?,
        }
        Ok(None)
    }

    fn ip(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        let fixed: [(&str, u32, u32); 4] =
            [("nofrag", 0, 0x3fff), ("firstfrag", 0x2000, 0x3fff), ("df", 0x4000, 0x4000), ("mf", 0x2000, 0x2000)];
        if let Some((_, value, mask)) = fixed.iter().find(|(name, ..)| words.peek() == Some(name)) {
            words.take();
            // tc takes no fixed one as the last word.
            return self.add(*value, *mask, 16, at(6));
        }
        match words.peek() {
            Some("src") => self.address(words, at(12), true),
            Some("dst") => self.address(words, at(16), true),
            _ => self.field(
                words,
                &[
                    ("tos", 8, at(1)),
                    ("dsfield", 8, at(1)),
                    ("precedence", 8, at(1)),
                    ("ihl", 8, at(0)),
                    ("protocol", 8, at(9)),
                    ("dport", 16, at(22)),
                    ("sport", 16, at(20)),
                    ("icmp_type", 8, at(20)),
                    ("icmp_code", 8, at(21)),
                ],
            ),
        }
    }

    fn ip6(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        match words.peek() {
            Some("src") => self.address(words, at(8), false),
            Some("dst") => self.address(words, at(24), false),
            Some("priority") => {
                words.take();
                let (value, mask) = value_and_mask(words, "priority")?;
                if value > 0xff || mask > 0xff {
                    return Err(illegal("ip6 priority: a value and a mask of 8 bits"));
                }
                self.pack(Key { value: (value << 20).to_be(), mask: (mask << 20).to_be(), ..Key::default() })
            }
            _ => self.field(
                words,
                &[
                    ("protocol", 8, at(6)),
                    ("flowlabel", 32, at(0)),
                    ("dport", 16, at(42)),
                    ("sport", 16, at(40)),
                    ("icmp_type", 8, at(40)),
                    ("icmp_code", 8, at(41)),
                ],
            ),
        }
    }

    /// A named field with its value and mask.
    fn field(&mut self, words: &mut Words<'_>, fields: &[(&str, u32, At)]) -> Result<(), WordsError> {
        let word = words.value("match")?;
        let abbreviated = |name: &str| matches!(name, "dsfield" | "precedence") && !word.is_empty() && name.starts_with(word);
        let found = fields.iter().find(|(name, ..)| *name == word || abbreviated(name));
        let (_, bits, at) = found.ok_or_else(|| words.unknown(word))?;
        self.bits(words, *bits, *at)
    }

    /// `VALUE MASK [at [nexthdr+]OFFSET]`
    fn bits(&mut self, words: &mut Words<'_>, bits: u32, usual: At) -> Result<(), WordsError> {
        let (value, mask) = value_and_mask(words, "match")?;
        let at = place(words, usual)?;
        self.add(value, mask, bits, at)
    }

    /// Adds a value of so many bits: it is moved to its place in the 32-bit word.
    fn add(&mut self, value: u32, mask: u32, bits: u32, at: At) -> Result<(), WordsError> {
        let most = u32::MAX >> (32 - bits);
        if value > most || mask > most {
            return Err(illegal(&format!("{value:#x} {mask:#x}: value and mask have {bits} bits here")));
        }
        let (shift, offset) = match bits {
            32 => (0, at.offset),
            // Whatever is not at the start of a word is taken to be in its second half.
            16 => (if at.offset & 3 == 0 { 16 } else { 0 }, at.offset & !3),
            _ => (24 - 8 * (at.offset & 3), at.offset & !3),
        };
        let offset_mask = if at.next { -1 } else { 0 };
        self.pack(Key { value: (value << shift).to_be(), mask: (mask << shift).to_be(), offset, offset_mask })
    }

    /// Adds a key, or joins it with the one that is at the same place.
    fn pack(&mut self, key: Key) -> Result<(), WordsError> {
        let value = key.value & key.mask;
        let same = |other: &&mut Key| (other.offset, other.offset_mask) == (key.offset, key.offset_mask);
        if let Some(other) = self.keys.iter_mut().find(same) {
            if (value ^ other.value) & key.mask & other.mask != 0 {
                return Err(illegal("can never be true: two values for the same bits"));
            }
            other.value |= value;
            other.mask |= key.mask;
            return Ok(());
        }
        if self.keys.len() >= KEYS {
            return Err(illegal(&format!("more than {KEYS} keys")));
        }
        if key.offset % 4 != 0 {
            return Err(illegal(&format!("at {}: 32 bits begin at a multiple of 4", key.offset)));
        }
        self.keys.push(Key { value, ..key });
        Ok(())
    }

    /// `src|dst ADDRESS[/PREFIX] [at OFFSET]`
    fn address(&mut self, words: &mut Words<'_>, usual: At, four: bool) -> Result<(), WordsError> {
        let word = words.value("match ip")?;
        let (address, prefix) = network(words, word, if four { Family::Inet } else { Family::Inet6 })?;
        let at = place(words, usual)?;
        let bytes = match address {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words_of = bytes.chunks_exact(4).map(|b| b.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)));
        let offset_mask = if at.next { -1 } else { 0 };
        for (n, value) in (0u32..).zip(words_of) {
            let bits = prefix.saturating_sub(32 * n).min(32);
            // Of IPv4 a key is there even for 0.0.0.0/0.
            if bits == 0 && !four {
                break;
            }
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let offset = at.offset.wrapping_add(4 * n.cast_signed());
            self.pack(Key { value: value.to_be(), mask: mask.to_be(), offset, offset_mask })?;
        }
        Ok(())
    }

    /// `src|dst MAC [at OFFSET]`
    fn ether(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        let word = words.value("match ether")?;
        let usual = match word {
            "src" => at(-8),
            "dst" => at(-14),
            _ => return Err(words.unknown(word)),
        };
        let mac = read(words, word, "a MAC address", super::units::mac)?;
        let at = place(words, usual)?;
        for (n, byte) in (0i32..).zip(mac) {
            self.add(byte.into(), 0xff, 8, At { offset: at.offset.wrapping_add(n), ..at })?;
        }
        Ok(())
    }

    /// `offset [plus N] [at N] [mask M] [shift N] [eat]`
    ///
    /// # Errors
    /// A value that is none.
    pub fn parse_offset(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        while let Some(name) = words.peek().and_then(|word| pick(word, &["plus", "at", "mask", "shift", "eat"])) {
            words.take();
            match name {
                "plus" => {
                    self.offset = read(words, name, "a number of bytes", signed)? as u16;
                    self.flags |= OFFSET;
                }
                "at" => {
                    self.offset_at = read(words, name, "an even number of bytes", |text| signed(text).filter(|n| n % 2 == 0))? as i16;
                    self.flags |= VAR_OFFSET;
                }
                "mask" => {
                    let mask: u16 = read(words, name, "a mask of 16 bits in hexadecimal", |text| hexadecimal(text)?.try_into().ok())?;
                    self.offset_mask = mask.to_be();
                    self.flags |= VAR_OFFSET;
                }
                "shift" => {
                    self.shift = read(words, name, "a number of bits", signed)? as u8;
                    self.flags |= VAR_OFFSET;
                }
                _ => self.flags |= EAT,
            }
        }
        Ok(())
    }

    /// `hashkey [mask M] [at N]`
    ///
    /// # Errors
    /// A value that is none.
    pub fn parse_hashkey(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        while let Some(name) = words.peek().and_then(|word| pick(word, &["mask", "at"])) {
            words.take();
            if name == "mask" {
                self.hash_mask = read(words, name, "a mask in hexadecimal", hexadecimal)?.to_be();
            } else {
                self.hash_at = read(words, name, "a multiple of 4", |text| signed(text).filter(|n| n % 4 == 0))? as i16;
            }
        }
        Ok(())
    }

    /// What is behind the keys, as tc prints it.
    pub fn show_rest(&self) -> String {
        let mut text = String::new();
        if self.flags & (VAR_OFFSET | OFFSET) != 0 {
            text += "\n    offset ";
            if self.flags & VAR_OFFSET != 0 {
                text += &format!("{:04x}>>{} at {} ", u16::from_be(self.offset_mask), self.shift, self.offset_at);
            }
            if self.offset != 0 {
                text += &format!("plus {} ", self.offset);
            }
        }
        if self.flags & EAT != 0 {
            text += " eat ";
        }
        if self.hash_mask != 0 {
            text += &format!("\n    hash mask {:08x} at {} ", u32::from_be(self.hash_mask), self.hash_at);
        }
        text
    }
}

impl Key {
    /// As tc prints it.
    pub fn show(&self) -> String {
        let next = if self.offset_mask == 0 { "" } else { "nexthdr+" };
        format!("\n  match {:08x}/{:08x} at {next}{}", u32::from_be(self.value), u32::from_be(self.mask), self.offset)
    }

    /// As tc prints it with `-p`: what it knows no name for is left out.
    pub fn show_pretty(&self, protocol: u16) -> String {
        let (value, mask) = (u32::from_be(self.value), u32::from_be(self.mask));
        if !matches!(protocol, IPV4 | IPV6) {
            return self.show();
        }
        let ports = if protocol == IPV4 { ["sport", "dport"] } else { ["dport", "sport"] };
        let port = |n: usize| {
            let number = if n == 0 { value >> 16 } else { value & 0xffff };
            // The port that is not named first stands on the line of what is before it.
            let start = if ports[n] == "sport" { "\n  " } else { "" };
            format!("{start}match {} {number}", ports[n])
        };
        match (self.offset, mask) {
            (0, 0x0f00_0000) => format!("\n  match IP ihl {}", value >> 24),
            (0, 0x00ff_0000) if value == 0 => "\n  match IP dsfield 0".into(),
            (0, 0x00ff_0000) => format!("\n  match IP dsfield {:#x}", value >> 16),
            (8, 0x00ff_0000) => format!("\n  match IP protocol {}", value >> 16),
            (12 | 16, mask) if mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0 => {
                let name = if self.offset == 12 { "src" } else { "dst" };
                format!("\n  match IP {name} {}/{}", Ipv4Addr::from(value), mask.count_ones())
            }
            (20, 0x0000_ffff) => port(1),
            (20, 0xffff_0000) => port(0),
            (20, u32::MAX) if protocol == IPV4 => format!("\n  match dport {}, match sport {}", value & 0xffff, value >> 16),
            (20, u32::MAX) => format!("\n  match sport {}, match dport {}", value & 0xffff, value >> 16),
            _ => String::new(),
        }
    }
}

fn value_and_mask(words: &mut Words<'_>, of: &str) -> Result<(u32, u32), WordsError> {
    let value = number(words, of)?;
    let mask = read(words, of, "a mask in hexadecimal, like ff", hexadecimal)?;
    Ok((value, mask))
}

/// `at [nexthdr+]OFFSET`, or the usual place.
fn place(words: &mut Words<'_>, usual: At) -> Result<At, WordsError> {
    if !words.take_if("at") {
        return Ok(usual);
    }
    let word = words.value("at")?;
    let number = |text: &str| signed(text).ok_or_else(|| words.bad("at", text, "a number of bytes, or nexthdr+ and one"));
    match word.strip_prefix("nexthdr+") {
        Some("") => read(words, "at nexthdr+", "a number of bytes", signed).map(next),
        Some(rest) => number(rest).map(next),
        None if pick(word, &["nexthdr+"]).is_some() => read(words, "at nexthdr+", "a number of bytes", signed).map(next),
        None => number(word).map(|offset| At { offset, ..usual }),
    }
}

fn mark(words: &mut Words<'_>) -> Result<Mark, WordsError> {
    let (value, mask) = (number(words, "match mark")?, number(words, "match mark's value")?);
    if value & mask != value {
        return Err(illegal("mark: the value has bits that the mask has not"));
    }
    Ok((value, mask))
}

/// A network behind a word: address and prefix length. `any`, `all` and `default` are all addresses.
///
/// # Errors
/// When it is none, or of the other family.
pub fn network(words: &mut Words<'_>, of: &str, family: Family) -> Result<(IpAddr, u32), WordsError> {
    let prefix = address::prefix(of, words.value(of)?, Some(family))?;
    let none = match family {
        Family::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Ok(prefix.ip.map_or((none, 0), |ip| (ip, prefix.len.into())))
}
