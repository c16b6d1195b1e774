//! Mermaid's flowchart, which forges and wikis show as a picture.

use super::{Escaped, Graph};

pub(super) fn draw(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for (n, host) in graph.hosts.iter().enumerate() {
        text += &format!("  h{n}[{}]\n", label(&[&host.name, &host.kind], &host.notes));
        for (m, port) in host.ports.iter().enumerate() {
            text += &format!("  h{n}p{m}[{}] --- h{n}\n", label(&[&port.name, port.role()], &port.notes));
        }
    }
    let guests = graph.guests();
    for (n, (name, _)) in guests.iter().enumerate() {
        text += &format!("  g{n}({})\n", label(&[name], &[]));
    }
    let of = |name: &str| guests.iter().position(|(guest, _)| *guest == name).unwrap_or_default();
    for (n, host) in graph.hosts.iter().enumerate() {
        for interface in graph.interfaces_on(host) {
            text += &format!("  h{n} ---|{}| g{}\n", label(&[&interface.name], &interface.notes), of(&interface.guest));
        }
    }
    for [first, second] in &graph.links {
        let notes: Vec<String> =
            first.notes.iter().cloned().chain([format!("to {}", second.name)]).chain(second.notes.iter().cloned()).collect();
        text += &format!("  g{} ===|{}| g{}\n", of(&first.guest), label(&[&first.name], &notes), of(&second.guest));
    }
    text
}

/// A quoted string of some lines; what means something in it is written by its number.
fn label(first: &[&str], notes: &[String]) -> String {
    let lines = std::iter::once(first.join(" ")).chain(notes.iter().cloned());
    let escape = |c| match c {
        '"' => Some("#quot;"),
        '#' => Some("#35;"),
        '<' => Some("#lt;"),
        '>' => Some("#gt;"),
        '&' => Some("#amp;"),
        '`' => Some("#96;"),
        _ => None,
    };
    let lines: Vec<String> = lines.map(|line| Escaped(&line, escape).to_string()).collect();
    format!("\"{}\"", lines.join("<br/>"))
}
