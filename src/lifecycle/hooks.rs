//! The administrator's own programs around a use case: what they are told, and when.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use crate::external::hooks::{HookError, HookSettings, Hooks, Occasion};
use crate::kernel::signal::Signals;
use crate::model::facts::GuestId;
use crate::model::hook::{HookDocument, HookEvent, SCHEMA};
use crate::model::types::{IfAddr, IfName};
use crate::plan::execute::Event;

use super::error::chain;

/// What hooks are told of a request, before and after.
pub(super) struct Told<'a, Q> {
    pub(super) guest: &'a GuestId,
    pub(super) interface: IfName,
    pub(super) addresses: Vec<IfAddr>,
    pub(super) gateways: Vec<IpAddr>,
    pub(super) request: &'a Q,
}

impl<Q: Serialize> Told<'_, Q> {
    fn document<R: Serialize>(&self, event: HookEvent, report: Option<&R>) -> Vec<u8> {
        let (addresses, gateways) = (self.addresses.clone(), self.gateways.clone());
        let (guest, interface) = (self.guest.into(), &self.interface);
        let document = HookDocument { schema: SCHEMA, event, guest, interface, addresses, gateways, request: self.request, report };
        // Plain data with text for keys: there is nothing in it that JSON cannot say.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    fn occasion<'o>(&'o self, event: HookEvent, document: &'o [u8]) -> Occasion<'o> {
        Occasion { event, guest: &self.guest.name, interface: self.interface.as_str(), document }
    }
}

/// The hooks around one request.
pub(super) struct Around {
    hooks: Option<Hooks>,
    before_is_done: bool,
}

impl Around {
    /// Looks whether there are any.
    pub(super) fn find(settings: &HookSettings) -> Result<Self, HookError> {
        Ok(Self { hooks: Hooks::find(settings)?, before_is_done: false })
    }

    /// Whether there are any to be run first. Once they have been, there are none.
    pub(super) fn is_due(&self, event: HookEvent) -> Result<bool, HookError> {
        self.hooks.as_ref().filter(|_| !self.before_is_done).map_or(Ok(false), |hooks| hooks.has(event))
    }

    /// Runs those of `event`, for one guest after the other. They may change what was looked at.
    pub(super) fn before<Q: Serialize>(
        &mut self,
        event: HookEvent,
        all: &[Told<'_, Q>],
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), HookError> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        let mut signals = Signals::hold().map_err(HookError::Signals)?;
        for told in all {
            let document = told.document::<()>(event, None);
            hooks.before(&told.occasion(event, &document), &mut signals, &mut |path: &Path| watch(Event::Running(path)))?;
        }
        self.before_is_done = true;
        Ok(())
    }

    /// Whether there are any for what comes after.
    pub(super) fn has(&self, event: HookEvent) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.has(event).unwrap_or(true))
    }

    /// Runs those of `event`, whatever becomes of one. What went wrong with them changes nothing any more: it is told.
    /// `signals`: where signals are held back already.
    pub(super) fn after<Q: Serialize, R: Serialize>(
        &self,
        event: HookEvent,
        told: &Told<'_, Q>,
        report: &R,
        signals: Option<&mut Signals>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Vec<String> {
        let Some(hooks) = self.hooks.as_ref().filter(|_| self.has(event)) else { return Vec::new() };
        let document = told.document(event, Some(report));
        let (occasion, mut tell) = (told.occasion(event, &document), |path: &Path| watch(Event::Running(path)));
        let failed = match signals {
            Some(signals) => hooks.after(&occasion, signals, &mut tell),
            None => match Signals::hold() {
                Ok(mut signals) => hooks.after(&occasion, &mut signals, &mut tell),
                Err(error) => vec![HookError::Signals(error)],
            },
        };
        failed.iter().map(|error| chain(error).join(": ")).collect()
    }
}
