//! The host's networks as a picture: what hangs on what, and how it is drawn.

mod dot;
mod mermaid;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

/// What there is to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The host's bridges, and the NICs that guests share or have.
    pub hosts: Vec<HostNode>,
    /// Guests' interfaces that hang on one of them.
    pub interfaces: Vec<Interface>,
    /// Links straight between two guests.
    pub links: Vec<[Interface; 2]>,
}

/// A bridge or NIC of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNode {
    /// Its name.
    pub name: String,
    /// `bridge`, `NIC`, ...
    pub kind: String,
    /// MTU, addresses, ...
    pub notes: Vec<String>,
    /// A bridge's ports that are no guest's of ours.
    pub ports: Vec<Port>,
}

/// A port of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Whether it leads out of the host.
    pub is_uplink: bool,
    /// State, VLANs, ...
    pub notes: Vec<String>,
}

/// A guest's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The guest as the user named it.
    pub guest: String,
    /// Its name there.
    pub name: String,
    /// The host's bridge or NIC; empty for a link's end.
    pub on: String,
    /// Addresses, VLAN, kind, ...
    pub notes: Vec<String>,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// A tree for terminals.
    Text,
    /// Graphviz's language.
    Dot,
    /// Mermaid's flowchart.
    Mermaid,
    /// A picture for browsers, with nothing outside it.
    Svg,
}

impl std::str::FromStr for Drawing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "dot" => Ok(Self::Dot),
            "mermaid" => Ok(Self::Mermaid),
            "svg" => Ok(Self::Svg),
            _ => Err("give text, dot, mermaid or svg".into()),
        }
    }
}

impl Port {
    /// `uplink`, or no more than a port.
    fn role(&self) -> &'static str {
        if self.is_uplink { "uplink" } else { "port" }
    }
}

impl Graph {
    /// Draws it.
    pub fn draw(&self, drawing: Drawing) -> String {
        match drawing {
            Drawing::Text => text::draw(self),
            Drawing::Dot => dot::draw(self),
            Drawing::Mermaid => mermaid::draw(self),
            Drawing::Svg => svg::draw(self),
        }
    }

    /// The guests, each once, in order, with all their interfaces.
    fn guests(&self) -> Vec<(&str, Vec<&Interface>)> {
        let all = || self.interfaces.iter().chain(self.links.iter().flatten());
        let mut names: Vec<&str> = all().map(|interface| interface.guest.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name, all().filter(|interface| interface.guest == name).collect())).collect()
    }

    fn interfaces_on<'a>(&'a self, host: &'a HostNode) -> impl Iterator<Item = &'a Interface> {
        self.interfaces.iter().filter(|interface| interface.on == host.name)
    }
}

/// Text with signs replaced that mean something where it is put; those that print nothing are shown as `\u{..}`.
struct Escaped<'a>(&'a str, fn(char) -> Option<&'static str>);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match (self.1)(c) {
            Some(instead) => f.write_str(instead),
            None if c.is_control() => write!(f, "{}", c.escape_unicode()),
            None => write!(f, "{c}"),
        })
    }
}
