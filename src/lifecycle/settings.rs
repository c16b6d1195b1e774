//! What a request leaves to be found in the guest: the first free name, and the words of its routes and rules.

use std::borrow::Cow;

use super::AttachError;
use crate::guest::{self, Held};
use crate::iproute::names::Names;
use crate::iproute::{WordsError, given};
use crate::kernel::routing;
use crate::model::error::KernelError;
use crate::model::request::AttachRequest;
use crate::model::settings::ToolWords;
use crate::model::types::IfName;

/// The request with nothing left open: `-i auto` has its name, and tables have their numbers.
pub(super) fn resolved<'a>(request: &'a AttachRequest, held: &Held) -> Result<Cow<'a, AttachRequest>, AttachError> {
    let settings = &request.settings;
    if settings.routes.is_empty() && settings.rules.is_empty() && !settings.auto_name {
        return Ok(Cow::Borrowed(request));
    }
    let mut all = request.clone();
    all.settings.routes = read_all("--route", &settings.routes, given::route, held)?;
    all.settings.rules = read_all("--rule", &settings.rules, given::rule, held)?;
    if std::mem::take(&mut all.settings.auto_name) {
        all.guest_if = Some(free_name(held).map_err(AttachError::Observe)?);
    }
    Ok(Cow::Owned(all))
}

/// How words are read: with names of tables.
type Read = fn(&[String], &Names) -> Result<Vec<String>, WordsError>;

fn read_all(option: &'static str, typed: &[ToolWords], read: Read, held: &Held) -> Result<Vec<ToolWords>, AttachError> {
    let one = |words: &ToolWords| {
        // Names of tables are in files, which mostly nobody needs.
        let read = read(words.words(), &Names::default()).or_else(|_| read(words.words(), &guest::names(held)));
        read.map(ToolWords::read).map_err(|source| AttachError::Words { option, words: words.to_string(), source })
    };
    typed.iter().map(one).collect()
}

/// The first of eth1, eth2, ... that no link of the guest has.
fn free_name(held: &Held) -> Result<IfName, KernelError> {
    let links = routing::links(&mut held.namespace.netlink()?)?;
    let is_free = |name: &String| !links.by_index.values().flatten().any(|taken| taken == name);
    let name = (1..=u16::MAX).map(|number| format!("eth{number}")).find(is_free);
    let name = name.and_then(|name| name.parse().ok());
    name.ok_or_else(|| KernelError::Garbled("no name is free".into()))
}
