//! Route netlink messages taken apart, as far as two of them are to be compared: strace's dump to lines of text.
#![allow(clippy::unwrap_used)]

/// The bytes of each call: lines like ` | 00010  00 01 ...  text |` under it.
pub fn dumps(text: &str) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        let Some((offset, rest)) = line.strip_prefix(" | ").and_then(|l| l.split_once("  ")) else { continue };
        if offset == "00000" {
            all.push(Vec::new());
        }
        // 16 bytes: two groups of eight, two spaces between them.
        let hex = &rest[..49.min(rest.len())];
        all.last_mut().unwrap().extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    all
}

/// Names of what may be seen here, from linux/rtnetlink.h and its like; others show as numbers. Types of messages, with
/// the length of their fixed header.
const MESSAGES: &[(u16, &str, usize)] = &[
    (16, "RTM_NEWLINK", 16),
    (17, "RTM_DELLINK", 16),
    (19, "RTM_SETLINK", 16),
    (20, "RTM_NEWADDR", 8),
    (21, "RTM_DELADDR", 8),
    (24, "RTM_NEWROUTE", 12),
    (25, "RTM_DELROUTE", 12),
    (108, "RTM_NEWLINKPROP", 16),
    (109, "RTM_DELLINKPROP", 16),
];

/// What is in an attribute.
enum Holds {
    Attributes,
    /// A header of so many bytes, then attributes.
    Message(usize),
    Text,
    /// An open file, whose number means nothing.
    File,
}

fn holds(path: &str, kind: &str) -> Option<Holds> {
    let last_link = path.strip_prefix("link").map(|p| p.trim_start_matches(".18.2.1"));
    match (last_link, kind) {
        (Some(".18"), _) => Some(Holds::Attributes),
        (Some(".18.2"), _) => Some(Holds::Attributes),
        // VETH_INFO_PEER is a link message in itself.
        _ if path == "link.18.2.1" && kind == "veth" => Some(Holds::Message(16)),
        (Some(".52"), _) => Some(Holds::Attributes),
        (Some(".3" | ".18.1" | ".52.53"), _) => Some(Holds::Text),
        (Some(".28"), _) => Some(Holds::File),
        _ => None,
    }
}

/// One line for the header and one for each attribute, by its path of numbers, sorted: the order within a nest means
/// nothing. Sequence number and port are left out, and lengths show in what the attributes hold.
pub fn describe(bytes: &[u8]) -> Option<Vec<String>> {
    let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    if bytes.len() < 20 || usize::from(half(0)) != bytes.len() {
        return None;
    }
    let (_, name, header) = MESSAGES.iter().find(|(number, ..)| *number == half(4))?;
    let family = if name.contains("LINK") { "link" } else { "other" };
    // iproute2 asks first whether the kernel knows RTM_NEWLINK at all, by an empty one.
    if *name == "RTM_NEWLINK" && bytes.len() == 16 + header && bytes[16..].iter().all(|b| *b == 0) {
        return None;
    }
    let mut lines = vec![format!("{name} flags {:#x}", half(6)), format!("{family} header {:02x?}", &bytes[16..16 + header])];
    attributes(&bytes[16 + header..], family, "", &mut lines);
    lines.sort();
    Some(lines)
}

fn attributes(mut bytes: &[u8], path: &str, kind: &str, lines: &mut Vec<String>) {
    let mut kind = kind.to_owned();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let number = u16::from_ne_bytes([bytes[2], bytes[3]]);
        let value = &bytes[4..length];
        // NLA_F_NESTED, the topmost bit, shows, but is no part of the path.
        let path = format!("{path}.{}", number & 0x3fff);
        let shown = if number & 0xc000 == 0 { path.clone() } else { format!("{path} flags {:#x}", number & 0xc000) };
        match holds(&path, &kind) {
            Some(Holds::Attributes) => {
                lines.push(format!("{shown}:"));
                attributes(value, &path, &kind, lines);
            }
            Some(Holds::Message(header)) => {
                lines.push(format!("{shown}: header {:02x?}", &value[..header]));
                attributes(&value[header..], &path, "", lines);
            }
            Some(Holds::Text) => {
                // Both forms are the same to the kernel (NLA_STRING, NLA_NUL_STRING).
                let text = String::from_utf8_lossy(value);
                let text = text.trim_end_matches('\0');
                if path.ends_with(".18.1") {
                    kind = text.to_owned();
                }
                lines.push(format!("{shown}: {text}"));
            }
            Some(Holds::File) => lines.push(format!("{shown}: a file")),
            None => lines.push(format!("{shown}: {value:02x?}")),
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
}
