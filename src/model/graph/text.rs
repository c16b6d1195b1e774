//! A tree, as `tree` and `lsblk` draw one.

use super::{Escaped, Graph, Interface};

/// What a line of the tree says, and what hangs on it.
struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn leaf(text: String) -> Self {
        Self { text, below: Vec::new() }
    }
}

pub(super) fn draw(graph: &Graph) -> String {
    let mut roots: Vec<Node> = Vec::new();
    for host in &graph.hosts {
        let ports = host.ports.iter().map(|port| Node::leaf(line(&port.name, port.role(), &port.notes)));
        let guests = graph.interfaces_on(host).map(|interface| Node::leaf(line(&title(interface), "", &interface.notes)));
        roots.push(Node { text: line(&host.name, &host.kind, &host.notes), below: ports.chain(guests).collect() });
    }
    if !graph.links.is_empty() {
        let end = |interface: &Interface| line(&title(interface), "", &interface.notes);
        let below = graph.links.iter().map(|[first, second]| Node::leaf(format!("{}  <->  {}", end(first), end(second)))).collect();
        roots.push(Node { text: "links between guests".into(), below });
    }
    let mut text = String::from("this host\n");
    print(&roots, "", &mut text);
    text
}

fn title(interface: &Interface) -> String {
    format!("{} {}", interface.guest, interface.name)
}

fn line(name: &str, kind: &str, notes: &[String]) -> String {
    let notes = notes.join(", ");
    let parts = [name, kind, notes.as_str()].into_iter().filter(|part| !part.is_empty());
    Escaped(&parts.collect::<Vec<_>>().join("  "), |_| None).to_string()
}

fn print(nodes: &[Node], before: &str, text: &mut String) {
    for (n, node) in nodes.iter().enumerate() {
        let (branch, rest) = if n + 1 == nodes.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
        text.push_str(&format!("{before}{branch}{}\n", node.text));
        print(&node.below, &format!("{before}{rest}"), text);
    }
}
