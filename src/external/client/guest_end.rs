//! When a guest has ended.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{Mode, OFlags, openat};

use crate::kernel::netns::Namespace;

/// A guest's end: that of its process, else that of the name that its namespace has in the file system.
#[derive(Debug)]
pub(super) enum GuestEnd<'a> {
    /// A pidfd, readable when the process has ended (pidfd_open(2)).
    Process(BorrowedFd<'a>),
    /// The directory, held open because another may be seen in its place, the name in it, and the inode it had.
    Name(OwnedFd, String, u64),
    /// It cannot be known.
    Unknown,
}

impl<'a> GuestEnd<'a> {
    /// That of a guest in a namespace, with a process or without.
    pub(super) fn of(process: Option<&'a OwnedFd>, namespace: &Namespace) -> Self {
        if let Some(process) = process {
            return Self::Process(process.as_fd());
        }
        let path = namespace.path();
        let directory = path.parent().and_then(|parent| File::open(parent).ok());
        match (directory, path.file_name().and_then(|name| name.to_str())) {
            (Some(directory), Some(name)) => Self::Name(directory.into(), name.to_owned(), namespace.inode()),
            _ => Self::Unknown,
        }
    }

    /// The process, where it has one.
    pub(super) fn process(&self) -> Option<BorrowedFd<'a>> {
        if let Self::Process(process) = self { Some(*process) } else { None }
    }

    /// The file that has to stay open.
    pub(super) fn raw_fd(&self) -> Option<i32> {
        match self {
            Self::Process(process) => Some(process.as_raw_fd()),
            Self::Name(directory, ..) => Some(directory.as_raw_fd()),
            Self::Unknown => None,
        }
    }

    /// Whether it has come.
    pub(super) fn has_come(&self) -> bool {
        match self {
            Self::Process(process) => poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|n| n > 0),
            Self::Name(directory, name, inode) => !names(directory, Path::new(name), *inode),
            Self::Unknown => false,
        }
    }
}

fn names(directory: &OwnedFd, name: &Path, inode: u64) -> bool {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
    file.is_ok_and(|file| File::from(file).metadata().is_ok_and(|m| m.ino() == inode))
}
