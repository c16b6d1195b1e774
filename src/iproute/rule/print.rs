//! A rule as `ip rule` prints it.

use std::fmt::Write;
use std::net::IpAddr;

use super::super::address::address_text;
use super::super::names::{LookUps, NameTable};
use super::super::options::Options;
use super::super::route::kind_text;
use super::{GOTO, INVERT, KERNEL, NOP, Rule, TO_TABLE};

/// FIB_RULE_UNRESOLVED
const UNRESOLVED: u32 = 4;
/// FIB_RULE_IIF_DETACHED
const IIF_DETACHED: u32 = 8;
/// FIB_RULE_OIF_DETACHED
const OIF_DETACHED: u32 = 16;

/// Appends the line of a rule.
pub fn print(rule: &Rule, options: Options, lookups: &LookUps, out: &mut String) {
    let printer = Printer { rule, options, lookups };
    printer.addresses(out);
    printer.packet(out);
    printer.links(out);
    printer.ports(out);
    printer.table(out);
    printer.action(out);
    printer.protocol(out);
    out.push('\n');
}

struct Printer<'a> {
    rule: &'a Rule,
    options: Options,
    lookups: &'a LookUps,
}

impl Printer<'_> {
    /// `100: not from 10.1.1.0/24 to 10.2.0.1`
    fn addresses(&self, out: &mut String) {
        let rule = self.rule;
        let not = if rule.flags & INVERT != 0 { "not " } else { "" };
        let _ = write!(out, "{}:\t{not}from ", rule.priority.unwrap_or_default());
        match (rule.src, rule.src_len) {
            (None, 0) => out.push_str("all"),
            (src, len) => self.prefix(src, len, out),
        }
        if rule.dst.is_some() || rule.dst_len != 0 {
            out.push_str(" to ");
            self.prefix(rule.dst, rule.dst_len, out);
        }
    }

    fn prefix(&self, ip: Option<IpAddr>, len: u8, out: &mut String) {
        out.push_str(&ip.map_or_else(|| "0".to_owned(), address_text));
        if ip.is_none() || len != self.rule.family.host_prefix() {
            let _ = write!(out, "/{len}");
        }
    }

    /// ` tos 0x10 fwmark 0x1/0xff`
    fn packet(&self, out: &mut String) {
        let rule = self.rule;
        if rule.tos != 0 {
            let name = self.lookups.names.dsfields.name(rule.tos.into()).filter(|_| !self.options.numeric);
            let _ = write!(out, " tos {}", name.map_or_else(|| format!("{:#04x}", rule.tos), str::to_owned));
        }
        if rule.mark.is_some() || rule.mask.is_some() {
            let _ = write!(out, " fwmark {}", hex(rule.mark.unwrap_or_default()));
        }
        if let Some(mask) = rule.mask.filter(|mask| *mask != u32::MAX) {
            let _ = write!(out, "/{}", hex(mask));
        }
    }

    /// ` iif eth0 [detached] oif eth1`
    fn links(&self, out: &mut String) {
        let rule = self.rule;
        for (word, name, detached) in [("iif", &rule.iif, IIF_DETACHED), ("oif", &rule.oif, OIF_DETACHED)] {
            if let Some(name) = name {
                let _ = write!(out, " {word} {name}{}", if rule.flags & detached != 0 { " [detached]" } else { "" });
            }
        }
        if rule.l3mdev {
            out.push_str(" lookup [l3mdev-table]");
        }
    }

    /// ` uidrange 1-2 ipproto tcp sport 80 dport 1-2`
    fn ports(&self, out: &mut String) {
        let rule = self.rule;
        if let Some((first, last)) = rule.uids {
            let _ = write!(out, " uidrange {first}-{last}");
        }
        if let Some(protocol) = rule.ip_protocol {
            let name = self.lookups.names.ip_protocols.name(protocol.into()).filter(|_| !self.options.numeric);
            let _ = write!(out, " ipproto {}", name.map_or_else(|| format!("ipproto-{protocol}"), str::to_owned));
        }
        for (word, ports) in [("sport", rule.sports), ("dport", rule.dports)] {
            let _ = match ports {
                None => Ok(()),
                Some((first, last)) if first == last => write!(out, " {word} {first}"),
                Some((first, last)) => write!(out, " {word} {first}-{last}"),
            };
        }
        if let Some(tunnel) = rule.tunnel {
            let _ = write!(out, " tun_id {tunnel}");
        }
    }

    /// ` lookup main suppress_prefixlength 0`
    fn table(&self, out: &mut String) {
        let (rule, names) = (self.rule, &self.lookups.names);
        if rule.table == 0 {
            return;
        }
        let _ = write!(out, " lookup {}", self.named(&names.tables, rule.table));
        if let Some(length) = rule.suppress_prefixlength.filter(|length| *length != u32::MAX) {
            let _ = write!(out, " suppress_prefixlength {}", length.cast_signed());
        }
        if let Some(group) = rule.suppress_ifgroup.filter(|group| *group != u32::MAX) {
            let _ = write!(out, " suppress_ifgroup {}", self.named(&names.groups, group));
        }
    }

    fn named(&self, table: &NameTable, id: u32) -> String {
        table.name(id).filter(|_| !self.options.numeric).map_or_else(|| id.to_string(), str::to_owned)
    }

    /// ` realms 1/2 goto 100 [unresolved]`
    fn action(&self, out: &mut String) {
        let rule = self.rule;
        if let Some(realms) = rule.realms {
            let names = &self.lookups.names.realms;
            out.push_str(" realms ");
            if realms >> 16 != 0 {
                let _ = write!(out, "{}/", self.named(names, realms >> 16));
            }
            out.push_str(&self.named(names, realms & 0xffff));
        }
        match rule.action {
            GOTO => {
                let _ = write!(out, " goto {}", rule.goto.map_or_else(|| "none".to_owned(), |target| target.to_string()));
                out.push_str(if rule.flags & UNRESOLVED != 0 { " [unresolved]" } else { "" });
            }
            NOP => out.push_str(" nop"),
            TO_TABLE => {}
            other => drop(write!(out, " {}", kind_text(other, self.options.numeric))),
        }
    }

    fn protocol(&self, out: &mut String) {
        if let Some(protocol) = self.rule.protocol.filter(|p| (*p != 0 && *p != KERNEL) || self.options.details) {
            let _ = write!(out, " proto {}", self.named(&self.lookups.names.protocols, protocol.into()));
        }
    }
}

/// `%#x` of printf(3): zero has no 0x.
fn hex(number: u32) -> String {
    if number == 0 { "0".into() } else { format!("{number:#x}") }
}
