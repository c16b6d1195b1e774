#![allow(clippy::unwrap_used)]

use super::*;

fn notes(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn graph(guest: &str) -> Graph {
    let interface = |guest: &str, name: &str, on: &str, all: &[&str]| Interface {
        guest: guest.into(),
        name: name.into(),
        on: on.into(),
        notes: notes(all),
    };
    let uplink = Port { name: "eth1".into(), is_uplink: true, notes: notes(&["VLAN 1 untagged"]) };
    let bridge = HostNode { name: "br1".into(), kind: "bridge".into(), notes: notes(&["MTU 1500", "10.1.1.1/24"]), ports: vec![uplink] };
    let nic = HostNode { name: "eth0".into(), kind: "NIC".into(), ..HostNode::default() };
    Graph {
        hosts: vec![bridge, nic],
        interfaces: vec![
            interface(guest, "eth1", "br1", &["10.1.1.10/24", "VLAN 10"]),
            interface("db", "eth1", "eth0", &["192.168.1.5/24", "macvlan bridge"]),
        ],
        links: vec![[interface(guest, "eth2", "", &["10.0.0.1/30"]), interface("db", "eth2", "", &["10.0.0.2/30"])]],
    }
}

#[test]
fn a_tree_says_what_hangs_on_what() {
    let wanted = "this host
├── br1  bridge  MTU 1500, 10.1.1.1/24
│   ├── eth1  uplink  VLAN 1 untagged
│   └── web eth1  10.1.1.10/24, VLAN 10
├── eth0  NIC
│   └── db eth1  192.168.1.5/24, macvlan bridge
└── links between guests
    └── web eth2  10.0.0.1/30  <->  db eth2  10.0.0.2/30
";
    assert_eq!(graph("web").draw(Drawing::Text), wanted);
    assert_eq!(Graph::default().draw(Drawing::Text), "this host\n");
}

#[test]
fn each_edge_is_drawn_once() {
    let dot = graph("web").draw(Drawing::Dot);
    assert_eq!(dot.matches(" -- ").count(), 4, "{dot}");
    assert!(dot.contains("h0 -- g1 [label=\"eth1\\n10.1.1.10/24\\nVLAN 10\"];"), "{dot}");
    let mermaid = graph("web").draw(Drawing::Mermaid);
    assert!(mermaid.contains("h0 ---|\"eth1<br/>10.1.1.10/24<br/>VLAN 10\"| g1\n"), "{mermaid}");
    assert!(mermaid.contains("g1 ===|\"eth2<br/>10.0.0.1/30<br/>to eth2<br/>10.0.0.2/30\"| g0\n"), "{mermaid}");
    let svg = graph("web").draw(Drawing::Svg);
    assert_eq!((svg.matches("<path").count(), svg.matches("<rect").count()), (4, 6), "{svg}");
}

#[test]
fn a_name_with_signs_of_the_languages_stays_a_name() {
    let odd = "netns:/run/a\"b<c>&\\#\u{7}`";
    assert!(graph(odd).draw(Drawing::Dot).contains("label=\"netns:/run/a\\\"b<c>&\\\\#\\u{7}`\""));
    assert!(graph(odd).draw(Drawing::Mermaid).contains("(\"netns:/run/a#quot;b#lt;c#gt;#amp;\\#35;\\u{7}#96;\")"));
    assert!(graph(odd).draw(Drawing::Svg).contains(">netns:/run/a&quot;b&lt;c&gt;&amp;\\#\\u{7}`</text>"));
    assert!(!graph(odd).draw(Drawing::Text).contains('\u{7}'));
}

#[test]
fn no_two_boxes_of_a_picture_lie_on_each_other() {
    let svg = graph("a-guest-with-a-rather-long-name").draw(Drawing::Svg);
    let number = |rect: &str, key: &str| -> usize {
        let (_, rest) = rect.split_once(&format!(" {key}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let rects: Vec<[usize; 4]> = svg
        .lines()
        .filter(|line| line.starts_with("<rect") && !line.contains("page"))
        .map(|line| ["x", "y", "width", "height"].map(|key| number(line, key)))
        .collect();
    assert_eq!(rects.len(), 5);
    for (n, [x, y, width, height]) in rects.iter().enumerate() {
        for [other_x, other_y, ..] in rects.iter().skip(n + 1) {
            let inside = (*x..x + width).contains(other_x) && (*y..y + height).contains(other_y);
            assert!(!inside, "{svg}");
        }
    }
}
