//! The table of command lines, as text: cases.txt says how it is written, the other cases-*.txt go on.

/// How a case has to end, compared with the original.
#[derive(Debug, PartialEq)]
pub enum End {
    /// In the same state, but for the differences that the case names.
    Same,
    /// With an error on both sides; ours leaves everything as it was.
    Error,
    /// With an error on our side only, for this reason; everything as it was.
    Refused(String),
    /// With success on our side only: the guest has this address.
    Works(String),
}

/// Where a line of the setup runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Host,
    Guest,
    Nic,
    Dhcp,
    Ovs,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    pub group: String,
    /// `group: title`, the key of its record.
    pub title: String,
    pub setup: Vec<(Place, String)>,
    pub runs: Vec<String>,
    pub differs: Vec<String>,
    /// Whether the original finds busybox, whose ipcalc it takes the broadcast address from.
    pub busybox: bool,
    pub end: End,
    /// The case as written: a MAC address that stands in it is no random one.
    pub text: String,
}

/// All cases in the order of the table.
pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let table = concat!(
        include_str!("cases.txt"),
        include_str!("cases-nic.txt"),
        include_str!("cases-inside.txt"),
        include_str!("cases-dhcp.txt"),
        include_str!("cases-ovs.txt")
    );
    for line in table.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some((group, title)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            all.push(Case {
                group: group.to_owned(),
                title: format!("{group}: {title}"),
                setup: Vec::new(),
                runs: Vec::new(),
                differs: Vec::new(),
                busybox: true,
                end: End::Same,
                text: String::new(),
            });
            continue;
        }
        let case = all.last_mut().unwrap();
        case.text += line;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim().to_owned();
        match word {
            "host" => case.setup.push((Place::Host, rest)),
            "guest" => case.setup.push((Place::Guest, rest)),
            "nic" => case.setup.push((Place::Nic, rest)),
            "ovs" => case.setup.push((Place::Ovs, rest)),
            "dhcp" => case.setup.push((Place::Dhcp, rest)),
            "run" => case.runs.push(rest),
            "differs" => case.differs.push(rest),
            "no-busybox" => case.busybox = false,
            "error" => case.end = End::Error,
            "refused" => case.end = End::Refused(rest),
            "works" => case.end = End::Works(rest),
            _ => panic!("the table of cases: {line}"),
        }
    }
    assert!(all.iter().all(|c| !c.runs.is_empty()), "a case without a command line");
    all
}
