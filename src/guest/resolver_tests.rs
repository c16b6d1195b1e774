#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::stat;
use nix::unistd::mkfifo;

use super::*;

#[test]
fn what_a_guest_has_put_in_the_place_of_the_new_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let fifo = directory.path().join(NAME);
    mkfifo(&fifo, stat::Mode::S_IRWXU).unwrap();
    let opened = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Goes on as soon as anybody opens the other end, however shortly.
        let other_end = scope.spawn(|| {
            File::options().write(true).open(&fifo).unwrap();
            opened.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(300));
        Written { before: Before::Nothing(held, Vec::new()), text: b"ours".to_vec() }.undo().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let was_opened = opened.load(Ordering::SeqCst);
        let ours = File::options().read(true).open(&fifo).unwrap();
        other_end.join().unwrap();
        drop(ours);
        assert!(!was_opened && fifo.exists());
    });
}

#[test]
fn a_file_for_a_namespace_that_is_too_large_is_refused_and_keeps_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let large = vec![b'#'; 2 * usize::try_from(LARGEST).unwrap()];
    std::fs::write(&path, &large).unwrap();
    let refused = write_for_netns(directory.path(), "nameserver 10.0.0.1\n").unwrap_err();
    assert!(matches!(refused, ResolverError::NotOne { .. }), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), large);
}

#[test]
fn a_link_that_leads_nowhere_makes_no_file_where_it_leads() {
    let directory = tempfile::tempdir().unwrap();
    let (victim, ours) = (directory.path().join("victim"), directory.path().join("web"));
    std::fs::create_dir(&ours).unwrap();
    std::os::unix::fs::symlink(&victim, ours.join(NAME)).unwrap();
    write_for_netns(&ours, "nameserver 10.0.0.1\n").unwrap_err();
    assert!(!victim.exists() && ours.join(NAME).is_symlink());
}

#[test]
fn all_directories_that_were_made_for_the_file_go_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let ours = directory.path().join("netns/web");
    let written = write_for_netns(&ours, "nameserver 10.0.0.1\n").unwrap();
    assert!(ours.join(NAME).exists());
    written.undo().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
