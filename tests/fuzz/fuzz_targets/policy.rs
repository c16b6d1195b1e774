//! Any text at all as a policy: rules or mistakes with their lines, never a panic; and a file that allows nothing allows nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::model::intent::{Container, Policy};
use pipework::model::request::{AddrSpec, AttachRequest, GuestRef};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::read(text) {
        Ok(policy) => {
            let Ok(host_if) = "br0".parse() else { return };
            let request = AttachRequest::new(host_if, GuestRef::Any("web".into()), AddrSpec::default().into());
            let allowed = policy.check(&Container::default(), &request, &Default::default()).is_ok();
            // Keys may be written with escapes.
            assert!(!allowed || text.contains("allow") || text.contains("usual") || text.contains('\\'));
        }
        Err(wrong) => assert!(!wrong.is_empty() && wrong.iter().all(|wrong| wrong.line.is_some())),
    }
});
