//! Networks under the administrator's policy. When the engine asks nobody knows for which container: rules that name images,
//! containers or labels are for nobody here.

use std::path::Path;

use super::Shop;
use crate::model::intent::{Container, Policy};
use crate::model::request::AttachRequest;
use crate::model::topology::How;

/// Whether an attachment may be. Read anew each time: it is a small file, and networks are made rarely.
pub(super) fn check(shop: &Shop, request: &AttachRequest) -> Result<(), String> {
    let Some(path) = &shop.policy else { return Ok(()) };
    let anybody = Container { engine: "docker".into(), name: "(any)".into(), ..Container::default() };
    // The veth's end on the host is named here, and by nobody's wish.
    let request = AttachRequest { local_if: None, ..request.clone() };
    read(path)?.check(&anybody, &request, &How::default()).map_err(|refusal| refusal.to_string())
}

/// One that cannot be read allows nothing.
fn read(path: &Path) -> Result<Policy, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Policy::read(&text).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|wrong| format!("{}: {wrong}", path.display())).collect();
        lines.join("; ")
    })
}
