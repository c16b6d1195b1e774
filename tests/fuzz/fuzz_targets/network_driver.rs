//! Any path and any body: a call of Docker's network driver or a short error, never a panic; and what a network is made of says the
//! same when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::model::network_driver::{Call, Network};

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|byte| *byte == 0) else { return };
    let Ok(path) = std::str::from_utf8(&data[..at]) else { return };
    match Call::read(path, &data[at + 1..]) {
        Ok(Call::CreateNetwork(new)) => {
            let network = Network::from(*new);
            assert_eq!(network.options(), network.clone().options());
        }
        Ok(_) => {}
        Err(error) => assert!(error.to_string().chars().count() < 700),
    }
});
