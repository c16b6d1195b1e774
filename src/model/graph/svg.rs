//! A picture in three columns: what leads out of the host, its bridges and NICs, and the guests. Links between guests are arcs
//! at the right.

use super::{Escaped, Graph, HostNode, Interface};

/// Height of a line of text, and the width of a sign of a monospaced font of 12 pixels, which is 0.6 of its height and a bit.
const LINE: usize = 18;
const SIGN: usize = 8;
/// Around a box's text, between two boxes of a column, and around all.
const PAD: usize = 10;
const GAP: usize = 16;
const EDGE: usize = 20;
/// Between two columns: room for the lines.
const LANE: usize = 110;
/// How far an arc is from the next.
const ARC: usize = 14;

/// A box with a title, lines below it, and where it stands.
struct Box {
    x: usize,
    y: usize,
    width: usize,
    lines: Vec<String>,
    class: &'static str,
}

impl Box {
    fn height(&self) -> usize {
        self.lines.len() * LINE + 2 * PAD
    }

    /// The middle of a line of text.
    fn line_y(&self, line: usize) -> usize {
        self.y + PAD + line * LINE + LINE / 2
    }

    fn draw(&self) -> String {
        let Self { x, y, width, lines, class } = self;
        let mut text = format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" rx=\"4\"/>\n", self.height());
        for (n, line) in lines.iter().enumerate() {
            let class = if n == 0 { " class=\"title\"" } else { "" };
            text += &format!("<text{class} x=\"{}\" y=\"{}\">{}</text>\n", x + PAD, self.line_y(n) + 4, escaped(line));
        }
        text
    }
}

/// Boxes below each other, as wide as the widest needs.
fn column(x: usize, class: &'static str, all: Vec<Vec<String>>) -> Vec<Box> {
    let width = all.iter().flatten().map(|line| line.chars().count()).max().unwrap_or_default() * SIGN + 2 * PAD;
    let mut y = EDGE;
    let mut boxes = Vec::new();
    for lines in all {
        let one = Box { x, y, width, lines, class };
        y += one.height() + GAP;
        boxes.push(one);
    }
    boxes
}

/// Where the next column begins.
fn behind(boxes: &[Box], x: usize) -> usize {
    boxes.iter().map(|one| one.x + one.width + LANE).max().unwrap_or(x)
}

pub(super) fn draw(graph: &Graph) -> String {
    let ports: Vec<(usize, Vec<String>)> = graph.hosts.iter().enumerate().flat_map(|(n, host)| port_lines(n, host)).collect();
    let left = column(EDGE, "port", ports.iter().map(|(_, lines)| lines.clone()).collect());
    let middle_x = behind(&left, EDGE);
    let middle = column(middle_x, "host", graph.hosts.iter().map(host_lines).collect());
    let guests = graph.guests();
    let right = column(behind(&middle, middle_x), "guest", guests.iter().map(|(name, all)| guest_lines(name, all)).collect());

    let mut lines = String::new();
    for ((host, _), port) in ports.iter().zip(&left) {
        lines += &middle.get(*host).map(|host| curve((port.x + port.width, port.line_y(0)), (host.x, host.line_y(0)))).unwrap_or_default();
    }
    let row = |wanted: &Interface| {
        let (guest, (_, all)) = right.iter().zip(&guests).find(|(_, (name, _))| *name == wanted.guest)?;
        let n = all.iter().position(|interface| std::ptr::eq(*interface, wanted))?;
        Some((guest, guest.line_y(n + 1)))
    };
    for (host, from) in graph.hosts.iter().zip(&middle) {
        for interface in graph.interfaces_on(host) {
            lines += &row(interface).map(|(guest, y)| curve((from.x + from.width, from.line_y(0)), (guest.x, y))).unwrap_or_default();
        }
    }
    for (n, [first, second]) in graph.links.iter().enumerate() {
        if let (Some((one, from)), Some((other, to))) = (row(first), row(second)) {
            lines += &arc((one.x + one.width, from), (other.x + other.width, to), (n + 2) * ARC);
        }
    }
    let all = || left.iter().chain(&middle).chain(&right);
    let arcs = if graph.links.is_empty() { 0 } else { (graph.links.len() + 2) * ARC };
    let width = all().map(|one| one.x + one.width).max().unwrap_or(200) + arcs + EDGE;
    let height = all().map(|one| one.y + one.height()).max().unwrap_or(40) + EDGE;
    let boxes: String = all().map(Box::draw).collect();
    format!("{}{lines}{boxes}</svg>\n", head(width, height))
}

fn head(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <title>pipework</title>\n\
         <style>text{{font:12px monospace;fill:#222}}.title{{font-weight:bold}}rect{{stroke:#557;stroke-width:1}}\
         .page{{fill:#fff;stroke:none}}.port{{fill:#f6efdc}}.host{{fill:#dde8f5}}.guest{{fill:#e4f3df}}\
         path{{fill:none;stroke:#557;stroke-width:1.5}}.link{{stroke:#a33}}</style>\n\
         <rect class=\"page\" x=\"0\" y=\"0\" width=\"{width}\" height=\"{height}\"/>\n"
    )
}

fn port_lines(host: usize, node: &HostNode) -> Vec<(usize, Vec<String>)> {
    node.ports.iter().map(|port| (host, titled(format!("{} ({})", port.name, port.role()), &port.notes))).collect()
}

fn host_lines(host: &HostNode) -> Vec<String> {
    titled(format!("{} ({})", host.name, host.kind), &host.notes)
}

fn titled(title: String, notes: &[String]) -> Vec<String> {
    std::iter::once(title).chain(notes.iter().cloned()).collect()
}

/// An interface is a line.
fn guest_lines(name: &str, interfaces: &[&Interface]) -> Vec<String> {
    let line = |interface: &&Interface| format!("{}  {}", interface.name, interface.notes.join(", "));
    std::iter::once(name.to_owned()).chain(interfaces.iter().map(line)).collect()
}

fn curve((x, y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let middle = x + to_x.saturating_sub(x) / 2;
    format!("<path d=\"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}\"/>\n")
}

fn arc((x, y): (usize, usize), (to_x, to_y): (usize, usize), out: usize) -> String {
    let far = x.max(to_x) + out;
    format!("<path class=\"link\" d=\"M{x} {y}C{far} {y} {far} {to_y} {to_x} {to_y}\"/>\n")
}

fn escaped(text: &str) -> String {
    let escape = |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        _ => None,
    };
    Escaped(text, escape).to_string()
}
