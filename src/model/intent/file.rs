//! The administrator's own wanted attachments: the other files in the policy's directory, written as topologies.

use crate::model::topology::{self, Format, Lines, Located, Place, Topology, WantedAttachment, Wrong};

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedFile {
    /// Its attachments, each with its line.
    pub attachments: Vec<(usize, WantedAttachment)>,
    /// What of it is for `pipework apply` alone, with the line.
    pub left: Vec<Located>,
}

/// Reads such a file. No policy is asked: who writes there is the administrator.
///
/// # Errors
/// All that is wrong with it; nothing is made of a file with a mistake.
pub fn read_wanted(text: &str) -> Result<WantedFile, Vec<Located>> {
    let (topology, lines) = topology::read(text, Format::Toml).map_err(|wrong| vec![wrong])?;
    let wanted = topology.check().map_err(|wrong| wrong.into_iter().map(|wrong| located(&lines, wrong)).collect::<Vec<_>>())?;
    let attachments = wanted.attachments.into_iter().enumerate();
    let line = |index| lines.of(&Place { list: "attachments", index, key: None }).unwrap_or_default();
    Ok(WantedFile { attachments: attachments.map(|(index, one)| (line(index), one)).collect(), left: left(&topology, &lines) })
}

fn located(lines: &Lines, wrong: Wrong) -> Located {
    Located { line: lines.of(&wrong.place), text: format!("{}: {}", wrong.place, wrong.text) }
}

/// The lists that a daemon makes nothing of.
fn left(topology: &Topology, lines: &Lines) -> Vec<Located> {
    let creates = topology.guests.iter().position(|guest| guest.create);
    let bridges = (!topology.bridges.is_empty()).then_some(0);
    let links = (!topology.links.is_empty()).then_some(0);
    let lists = [("guests", creates), ("bridges", bridges), ("links", links)];
    let tell = |(list, index): (&'static str, Option<usize>)| {
        let place = Place { list, index: index?, key: None };
        Some(Located { line: lines.of(&place), text: format!("{list} are made by `pipework apply` alone: here attachments are") })
    };
    lists.into_iter().filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn attachments_are_taken_and_what_is_for_apply_is_told() {
        let text = "[[bridges]]\nname = \"br0\"\n\n[[guests]]\nguest = \"web\"\n\n[[attachments]]\nhost_if = \"br0\"\nguest = \"web\"\naddresses = [\"10.0.0.2/24\"]\nroutes = [\"10.9.0.0/16 via 10.0.0.1\"]\n";
        let file = read_wanted(text).unwrap();
        assert_eq!(file.attachments.len(), 1);
        assert_eq!((file.attachments[0].0, file.attachments[0].1.request.guest.to_string()), (7, "web".into()));
        assert_eq!(file.left.iter().map(|left| left.line).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(read_wanted("").unwrap(), WantedFile::default());
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "[[attachments]]\nhost_if = \"br0\"\nguest = \"web\"\naddresses = [\"10.0.0.2\"]\nmtu = 7\n\n[[attachments]]\nhost_if = \"br0\"\nguest = \"$(id)\"\n";
        let wrong = read_wanted(text).unwrap_err();
        assert_eq!(wrong.iter().map(|wrong| wrong.line).collect::<Vec<_>>(), [Some(4), Some(5), Some(9)]);
        assert_eq!(read_wanted("[[rules]]\n").unwrap_err().len(), 1);
    }
}
