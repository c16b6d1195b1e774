//! The host's networks as a picture: from the records, and from what the kernel has.

use super::{AttachError, StatusOptions, recording, status};
use crate::kernel::survey::HostSurvey;
use crate::model::facts::LinkKind;
use crate::model::graph::{Graph, HostNode, Interface, Port};
use crate::model::host::{HostLink, HostView};
use crate::model::op::Op;
use crate::model::record::Record;
use crate::model::status::AttachmentStatus;
use crate::state::Topologies;

/// The picture, and what could not be looked at.
///
/// # Errors
/// When the records cannot be read, or the host's links cannot be looked at.
pub fn graph(options: &StatusOptions) -> Result<(Graph, Vec<String>), AttachError> {
    let report = status(options)?;
    let kept = recording::records(&options.run_dir).map_err(AttachError::Observe)?;
    let records = kept.all().map_err(AttachError::Unrecorded)?.all;
    let topologies = Topologies::of(&options.run_dir, kept.home()).all().map_err(AttachError::Unrecorded)?;
    let view = HostSurvey::view().map_err(AttachError::Observe)?;
    let mut graph = Graph::default();
    let known = |seen: &AttachmentStatus| records.iter().find(|r| r.guest.netns == seen.guest.netns && r.interface == seen.interface);
    let mut ends: Vec<(&Record, Interface)> = Vec::new();
    for seen in &report.attachments {
        match known(seen) {
            Some(record) if record.mate.is_some() => match ends.iter().position(|(other, _)| other.id == record.id) {
                Some(at) => graph.links.push([ends.swap_remove(at).1, interface(seen, None)]),
                None => ends.push((record, interface(seen, None))),
            },
            record => graph.interfaces.push(interface(seen, record)),
        }
    }
    // Of a link whose other end is gone, this end is left.
    graph.interfaces.extend(ends.into_iter().map(|(_, interface)| Interface { on: "nothing".into(), ..interface }));
    let done = topologies.iter().flat_map(|applied| &applied.bridges).flat_map(|bridge| &bridge.done);
    let uplinks = done.filter_map(|op| match op {
        Op::SetBridge { port, .. } => Some(port.as_str()),
        _ => None,
    });
    let host = Host { view: &view, seen: &report.attachments, uplinks: uplinks.collect() };
    graph.hosts = host.nodes(&graph.interfaces);
    Ok((graph, report.warnings))
}

fn interface(seen: &AttachmentStatus, record: Option<&Record>) -> Interface {
    let mut notes: Vec<String> = seen.addresses.iter().map(ToString::to_string).collect();
    notes.extend(seen.gateways.iter().map(|gateway| format!("via {gateway}")));
    if let Some(request) = record.map(|record| &record.request) {
        notes.extend(request.sharing.as_ref().map(|sharing| sharing.to_string().trim_start_matches("--").replace('=', " ")));
        notes.extend(request.direct_phys.then(|| "the NIC itself".to_owned()));
        notes.extend(request.settings.rate.as_ref().map(|rate| format!("rate {rate}")));
        notes.extend(request.settings.netem.as_ref().map(|netem| format!("netem {netem}")));
    }
    notes.extend(seen.vlan.as_ref().map(|vlan| format!("VLAN {vlan}")));
    notes.extend(seen.host_link.clone());
    notes.extend((!seen.is_ok()).then(|| seen.words()));
    let on = if seen.host_interface.starts_with("link:") { String::new() } else { seen.host_interface.clone() };
    Interface { guest: seen.guest.name.clone(), name: seen.interface.to_string(), on, notes }
}

/// What is known of the host.
struct Host<'a> {
    view: &'a HostView,
    seen: &'a [AttachmentStatus],
    /// Ports that topologies describe as uplinks.
    uplinks: Vec<&'a str>,
}

impl Host<'_> {
    /// The bridges, and whatever else guests hang on; first those that are there.
    fn nodes(&self, interfaces: &[Interface]) -> Vec<HostNode> {
        let is_used = |link: &&HostLink| link.link.kind == LinkKind::Bridge || interfaces.iter().any(|i| i.on == link.link.name);
        let mut all: Vec<HostNode> = self.view.links.iter().filter(is_used).map(|link| self.node(link)).collect();
        all.sort_by(|a, b| (a.kind != "bridge", &a.name).cmp(&(b.kind != "bridge", &b.name)));
        for interface in interfaces {
            if !all.iter().any(|host| host.name == interface.on) {
                let kind = if interface.on == "dummy" || interface.on == "nothing" { "" } else { "not on this host now" };
                all.push(HostNode { name: interface.on.clone(), kind: kind.into(), ..HostNode::default() });
            }
        }
        all
    }

    fn node(&self, link: &HostLink) -> HostNode {
        let kind = match &link.link.kind {
            LinkKind::Device => "NIC",
            kind => kind.name(),
        };
        let mut notes = vec![format!("MTU {}", link.link.mtu)];
        notes.extend(link.vlan_filtering.then(|| "filters VLANs".to_owned()));
        notes.extend((!link.link.up).then(|| "down".to_owned()));
        notes.extend(link.addrs.iter().map(ToString::to_string));
        let is_guests = |port: &HostLink| self.seen.iter().any(|seen| seen.host_link.as_ref() == Some(&port.link.name));
        let is_port = |port: &&HostLink| link.link.kind == LinkKind::Bridge && !is_guests(port);
        let ports = self.view.ports(link).filter(is_port).map(|port| self.port(port, link.vlan_filtering)).collect();
        HostNode { name: link.link.name.clone(), kind: kind.to_owned(), notes, ports }
    }

    fn port(&self, port: &HostLink, filters: bool) -> Port {
        let leads_out = matches!(port.link.kind, LinkKind::Device | LinkKind::Vlan { .. });
        let vlans = port.vlans.iter().filter(|_| filters).map(|vlan| format!("VLAN {vlan}"));
        Port {
            name: port.link.name.clone(),
            is_uplink: leads_out || self.uplinks.contains(&port.link.name.as_str()),
            notes: vlans.chain((!port.link.up).then(|| "down".to_owned())).collect(),
        }
    }
}
