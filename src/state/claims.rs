//! Which attachment has which address on which network, so that one look answers it however many attachments there are:
//!
//! ```text
//! addresses/4026531840/br0@10/192.168.1.10 -> 4026532008/eth1
//! ```
//!
//! A symbolic link, which is made whole and by one run only. It is no more than a note: whether the attachment that it names
//! still is, and still has the address, is asked of its record. So what a killed run leaves does no harm.

use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::lock::ExclusiveLock;
use crate::model::types::IfName;

/// An interface of a guest, as records are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Inode number of the guest's network namespace.
    pub netns: u64,
    /// The interface in it.
    pub interface: IfName,
}

/// A note: who has which address where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The network.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
    /// Who is noted for it.
    pub claimant: Claimant,
}

impl Note {
    /// All notes of the host whose network namespace has that inode number.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub(super) fn all(run_dir: &Path, home: u64) -> Result<Vec<Self>> {
        let mut notes = Vec::new();
        for network in names(&run_dir.join("addresses").join(home.to_string()))? {
            let claims = Claims::of(run_dir, home, &network);
            for ip in names(&claims.directory)?.iter().filter_map(|name| name.parse().ok()) {
                notes.extend(claims.holder(ip)?.map(|claimant| Self { network: network.clone(), ip, claimant }));
            }
        }
        Ok(notes)
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    match std::fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(with_path(directory, &error)),
        Ok(all) => Ok(all.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
    }
}

impl Claimant {
    fn text(&self) -> String {
        format!("{}/{}", self.netns, self.interface)
    }

    fn parse(text: &Path) -> Option<Self> {
        let (netns, interface) = text.to_str()?.split_once('/')?;
        Some(Self { netns: netns.parse().ok()?, interface: interface.parse().ok()? })
    }
}

/// The addresses of one network of a host.
#[derive(Clone, Debug)]
pub struct Claims {
    directory: PathBuf,
}

impl Claims {
    /// Those in a run directory, of the host whose network namespace has that inode number, on a network: the name of a host
    /// interface, with its VLAN.
    pub fn of(run_dir: &Path, home: u64, network: &str) -> Self {
        Self { directory: run_dir.join("addresses").join(home.to_string()).join(network) }
    }

    /// Who is noted for an address.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn holder(&self, ip: IpAddr) -> Result<Option<Claimant>> {
        match std::fs::read_link(self.path(ip)) {
            Ok(text) => Ok(Claimant::parse(&text)),
            // EINVAL: it is no link, so none of ours.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput) => Ok(None),
            Err(error) => Err(with_path(&self.path(ip), &error)),
        }
    }

    /// Notes an address, unless somebody is noted for it already who `lives`. Returns who that is.
    ///
    /// # Errors
    /// When it cannot be written, or `lives` fails.
    pub fn take(&self, ip: IpAddr, claimant: &Claimant, lives: impl Fn(&Claimant) -> Result<bool>) -> Result<Option<Claimant>> {
        if self.note(ip, claimant)? {
            return Ok(None);
        }
        // Of several runs that find a dead one, one takes its place.
        let _lock = ExclusiveLock::take(&self.directory.join(".lock"))?;
        match self.holder(ip)? {
            Some(holder) if holder == *claimant => return Ok(None),
            Some(holder) if lives(&holder)? => return Ok(Some(holder)),
            _ => {}
        }
        let path = self.path(ip);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(with_path(&path, &error)),
            _ => {}
        }
        // Whoever notes itself in this moment has it.
        if self.note(ip, claimant)? { Ok(None) } else { self.holder(ip) }
    }

    /// Strikes out an address, if it is this one's.
    pub fn release(&self, ip: IpAddr, claimant: &Claimant) {
        if self.holder(ip).is_ok_and(|holder| holder.as_ref() == Some(claimant)) {
            let _ = std::fs::remove_file(self.path(ip));
            self.tidy();
        }
    }

    /// `false`: somebody is noted already.
    fn note(&self, ip: IpAddr, claimant: &Claimant) -> Result<bool> {
        let path = self.path(ip);
        let link = || std::os::unix::fs::symlink(claimant.text(), &path);
        // Another run may remove the empty directory in between.
        for _ in 0..100 {
            match link() {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory);
                    made.map_err(|error| with_path(&self.directory, &error))?;
                }
                Err(error) => return Err(with_path(&path, &error)),
            }
        }
        link().map(|()| true).map_err(|error| with_path(&path, &error))
    }

    /// Removes directories that have become empty.
    fn tidy(&self) {
        let all = self.directory.ancestors().take(3);
        let _ = all.map(std::fs::remove_dir).take_while(std::result::Result::is_ok).count();
    }

    fn path(&self, ip: IpAddr) -> PathBuf {
        self.directory.join(ip.to_string())
    }
}

fn with_path(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claimant(netns: u64) -> Claimant {
        Claimant { netns, interface: "eth1".parse().unwrap() }
    }

    fn ip() -> IpAddr {
        "fd00::5".parse().unwrap()
    }

    #[test]
    fn an_address_is_one_s_until_it_is_given_up_or_its_holder_is_dead() {
        let run_dir = tempfile::tempdir().unwrap();
        let claims = Claims::of(run_dir.path(), 7, "br0@10");
        let (one, two) = (claimant(1), claimant(2));
        assert_eq!(claims.take(ip(), &one, |_| Ok(true)).unwrap(), None);
        assert_eq!(claims.take(ip(), &one, |_| Ok(true)).unwrap(), None, "its own");
        assert_eq!(claims.take(ip(), &two, |_| Ok(true)).unwrap(), Some(one.clone()));
        // On another network it is another address.
        assert_eq!(Claims::of(run_dir.path(), 7, "br1").take(ip(), &two, |_| Ok(true)).unwrap(), None);
        assert_eq!(claims.take(ip(), &two, |_| Ok(false)).unwrap(), None);
        claims.release(ip(), &one);
        assert_eq!(claims.holder(ip()).unwrap(), Some(two.clone()), "not its own");
        claims.release(ip(), &two);
        assert_eq!(claims.holder(ip()).unwrap(), None);
        Claims::of(run_dir.path(), 7, "br1").release(ip(), &two);
        assert_eq!(std::fs::read_dir(run_dir.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn of_many_that_want_the_address_of_a_dead_one_at_once_one_gets_it() {
        let run_dir = tempfile::tempdir().unwrap();
        let claims = Claims::of(run_dir.path(), 7, "br0");
        for round in 0..20u64 {
            let dead = claimant(1000 + round);
            claims.take(ip(), &dead, |_| Ok(false)).unwrap();
            let got = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for me in 0..8 {
                    let (claims, got, dead) = (&claims, &got, &dead);
                    scope.spawn(move || {
                        let holder = claims.take(ip(), &claimant(me), |holder| Ok(holder != dead)).unwrap();
                        got.fetch_add(usize::from(holder.is_none()), std::sync::atomic::Ordering::SeqCst);
                    });
                }
            });
            assert_eq!(got.into_inner(), 1, "round {round}");
        }
    }

    #[test]
    fn what_is_no_note_of_ours_is_nobody() {
        let run_dir = tempfile::tempdir().unwrap();
        let claims = Claims::of(run_dir.path(), 7, "br0");
        std::fs::create_dir_all(&claims.directory).unwrap();
        std::fs::write(claims.path(ip()), "x").unwrap();
        assert_eq!(claims.holder(ip()).unwrap(), None);
        std::fs::remove_file(claims.path(ip())).unwrap();
        std::os::unix::fs::symlink("../../x", claims.path(ip())).unwrap();
        assert_eq!(claims.take(ip(), &claimant(1), |_| Ok(true)).unwrap(), None);
    }
}
