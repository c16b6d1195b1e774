//! Graphviz's language (https://graphviz.org/doc/info/lang.html).

use super::{Escaped, Graph};

pub(super) fn draw(graph: &Graph) -> String {
    let mut text =
        String::from("graph pipework {\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n  edge [fontname=\"monospace\"];\n");
    for (n, host) in graph.hosts.iter().enumerate() {
        text += &format!("  h{n} [label={}, style=filled, fillcolor=\"#dde8f5\"];\n", label(&[&host.name, &host.kind], &host.notes));
        for (m, port) in host.ports.iter().enumerate() {
            text += &format!("  h{n}p{m} [label={}];\n  h{n}p{m} -- h{n};\n", label(&[&port.name, port.role()], &port.notes));
        }
    }
    let guests = graph.guests();
    for (n, (name, _)) in guests.iter().enumerate() {
        text += &format!("  g{n} [label={}, style=\"filled,rounded\", fillcolor=\"#e4f3df\"];\n", label(&[name], &[]));
    }
    let of = |name: &str| guests.iter().position(|(guest, _)| *guest == name).unwrap_or_default();
    for (n, host) in graph.hosts.iter().enumerate() {
        for interface in graph.interfaces_on(host) {
            text += &format!("  h{n} -- g{} [label={}];\n", of(&interface.guest), label(&[&interface.name], &interface.notes));
        }
    }
    for [first, second] in &graph.links {
        let ends = [first, second].map(|end| label(&[&end.name], &end.notes));
        text += &format!("  g{} -- g{} [style=bold, taillabel={}, headlabel={}];\n", of(&first.guest), of(&second.guest), ends[0], ends[1]);
    }
    text + "}\n"
}

/// A quoted string of some lines.
fn label(first: &[&str], notes: &[String]) -> String {
    let lines = std::iter::once(first.join(" ")).chain(notes.iter().cloned());
    let escape = |c| match c {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        _ => None,
    };
    let lines: Vec<String> = lines.map(|line| Escaped(&line, escape).to_string()).collect();
    format!("\"{}\"", lines.join("\\n"))
}
