//! Any text at all as a topology: it is read and checked or refused, never a panic; and what is taken is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::model::topology::{Format, read, write};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in [Format::Toml, Format::Yaml] {
        let Ok((topology, _)) = read(text, format) else { continue };
        if topology.check().is_ok() {
            let again = write(&topology, format).map(|text| read(&text, format).map(|(topology, _)| topology));
            assert_eq!(again, Ok(Ok(topology)));
        }
    }
});
