//! Any words at all: a request or an error, never a panic; and what is taken prints as what is taken again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::cli::AttachArgs;
use pipework::model::request::{AddrSpec, AttachRequest, GuestRef, HostIf};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut words = text.split('\0');
    let mut word = || words.next().unwrap_or_default();
    let (host_if, guest, addr, last, guest_if) = (word(), word(), word(), word(), word());
    let args = AttachArgs::of(host_if, guest, addr, last, (!guest_if.is_empty()).then_some(guest_if));
    if let Ok(request) = AttachRequest::try_from(&args) {
        assert_eq!(request.host_if.to_string().parse::<HostIf>().ok(), Some(request.host_if));
        assert_eq!(request.guest.to_string().parse::<GuestRef>().ok(), Some(request.guest));
        assert_eq!(request.addr.to_string().parse::<AddrSpec>().ok(), Some(request.addr));
    }
});
