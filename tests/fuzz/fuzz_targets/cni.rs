//! Any text at all as a network's configuration, for any command: a request, or an error with one of the specification's codes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::model::cni::{Arguments, NetConf, Verb};

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let verbs = [Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status];
    let verb = verbs[usize::from(*first) % verbs.len()];
    match NetConf::read(text, verb, &Arguments::default()) {
        Ok(conf) => {
            let (Ok(container), Ok(interface)) = ("web".parse(), "eth0".parse()) else { return };
            let Ok(key) = conf.key(container, interface, None) else { return };
            assert!(key.to_string().parse().is_ok_and(|read: pipework::model::cni::Key| read == key));
            if let Err(error) = conf.request(&key, "/run/netns/web", None) {
                assert_eq!(error.code(), 7);
            }
        }
        Err((_, error)) => assert!([1, 2, 6, 7].contains(&error.code()) && error.to_string().len() < 6000),
    }
});
