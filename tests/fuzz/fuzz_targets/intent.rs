//! Any label, variable and name at all: requests for the container itself, or errors, never a panic; and none takes a NIC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::cli::words_without_guest;
use pipework::model::intent::{Container, DaemonEnvironment, Host, Policy, intents};
use pipework::model::request::{GuestRef, HostIf};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut words = text.split('\0').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let labels = [("pipework.lan".to_owned(), word()), ("x".to_owned(), word()), (format!("pipework.{}", word()), word())].into();
    let env = [("pipework_cmd".to_owned(), word()), (format!("pipework_{}", word()), word())].into();
    let _ = DaemonEnvironment::read(&env);
    let container = Container { engine: "docker".into(), id: "0123456789abcdef".into(), name: word(), labels, env, ..Container::default() };
    let guest = GuestRef::Docker(container.id.clone());
    for intent in intents(&container, &Host::default()).into_iter().flatten() {
        let Ok((request, options)) = words_without_guest(guest.clone(), &intent.words) else { continue };
        assert_eq!(request.guest, guest);
        let Ok(request) = intent.complete(request) else { continue };
        if Policy::default().check(&container, &request, &options.how()).is_ok() {
            assert!(!request.direct_phys && !request.force && !matches!(request.host_if, HostIf::Guest(_)));
        }
    }
});
