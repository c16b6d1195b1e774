//! Settings under /proc/sys/net, which are those of the calling thread's namespace.

use std::path::PathBuf;

use super::netns::{Namespace, file_error};
use crate::model::error::KernelError;
use crate::model::settings::Sysctl;
use crate::model::types::IfName;

fn disable_ipv6(conf: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"))
}

/// Whether links that come to be in the calling thread's namespace have IPv6 switched off. Without IPv6 in the kernel they
/// have not: the address itself will be refused, with the reason.
pub(super) fn ipv6_disabled() -> bool {
    std::fs::read_to_string(disable_ipv6("default")).is_ok_and(|value| value.trim() == "1")
}

/// Keeps a link of the calling thread's namespace from getting an address or a route by itself. Without IPv6 in the kernel
/// there is nothing to do.
pub(super) fn no_autoconf(link: &IfName) -> Result<(), KernelError> {
    let conf = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{link}"));
    if !conf.exists() {
        return Ok(());
    }
    // IN6_ADDR_GEN_MODE_NONE, linux/if_link.h: not even a link-local address.
    for (setting, value) in [("accept_ra", "0"), ("autoconf", "0"), ("addr_gen_mode", "1")] {
        let path = conf.join(setting);
        match std::fs::write(&path, value) {
            // Old kernels have no addr_gen_mode: the link-local address does no harm.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file_error(&path, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// Switches IPv6 off for one link of the calling thread's namespace, before it comes up. Where that cannot be, it stays as it is.
pub(super) fn no_ipv6(link: &IfName) {
    let _ = std::fs::write(disable_ipv6(link.as_str()), "1");
}

/// Switches IPv6 on for one link of the calling thread's namespace, if it is off.
pub(super) fn ensure_ipv6(link: &IfName) -> Result<(), KernelError> {
    let path = disable_ipv6(link.as_str());
    match std::fs::read_to_string(&path) {
        Ok(value) if value.trim() != "0" => std::fs::write(&path, "0").map_err(|error| file_error(&path, &error)),
        _ => Ok(()),
    }
}

/// Lets a link take addresses and routes from routers: 2 is "even if forwarding" (ip-sysctl.rst, accept_ra).
pub(super) fn accept_router(namespace: &Namespace, link: &IfName) -> Result<(), KernelError> {
    namespace.inside(|| {
        for (setting, value) in [("accept_ra", "2"), ("accept_ra_pinfo", "1"), ("autoconf", "1")] {
            let path = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{link}/{setting}"));
            std::fs::write(&path, value).map_err(|error| file_error(&path, &error))?;
        }
        Ok(())
    })
}

fn path(link: &IfName, sysctl: &Sysctl) -> PathBuf {
    PathBuf::from(format!("/proc/sys/{}/{link}/{}", sysctl.tree.directory(), sysctl.name))
}

/// Sets a setting of one link.
pub(super) fn set(namespace: &Namespace, link: &IfName, sysctl: &Sysctl) -> Result<(), KernelError> {
    let path = path(link, sysctl);
    namespace.inside(|| std::fs::write(&path, &sysctl.value).map_err(|error| file_error(&path, &error)))
}

/// The value that a setting of one link has; `None` when there is no such setting.
///
/// # Errors
/// When it cannot be read.
pub fn get(namespace: &Namespace, link: &IfName, sysctl: &Sysctl) -> Result<Option<String>, KernelError> {
    let path = path(link, sysctl);
    namespace.inside(|| match std::fs::read_to_string(&path) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(&path, &error)),
    })
}

/// Switches IPv6 on for one link.
pub(super) fn enable_ipv6(namespace: &Namespace, link: &IfName) -> Result<(), KernelError> {
    let path = disable_ipv6(link.as_str());
    namespace.inside(|| std::fs::write(&path, "0").map_err(|error| file_error(&path, &error)))
}

/// For as long as it lives, the IPv4 addresses of a link stay when the first of their subnet is deleted. Where it cannot be set,
/// such as under a read-only /proc/sys, things are as the kernel has them.
pub(super) struct Promoted<'a> {
    namespace: &'a Namespace,
    path: PathBuf,
    was_off: bool,
}

/// See [`Promoted`].
pub(super) fn promote_secondaries<'a>(namespace: &'a Namespace, link: &IfName) -> Promoted<'a> {
    let path = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{link}/promote_secondaries"));
    let switch_on = || {
        let is_off = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "0");
        Ok(is_off && std::fs::write(&path, "1").is_ok())
    };
    let was_off = namespace.inside(switch_on).unwrap_or(false);
    Promoted { namespace, path, was_off }
}

impl Drop for Promoted<'_> {
    fn drop(&mut self) {
        if self.was_off {
            let _ = self.namespace.inside(|| Ok(std::fs::write(&self.path, "0").is_ok()));
        }
    }
}

/// Throws away what IPv4 has learnt of its routes: exceptions by redirects and path MTU discovery.
pub(super) fn flush_route_cache(namespace: &Namespace) -> Result<(), KernelError> {
    let path = PathBuf::from("/proc/sys/net/ipv4/route/flush");
    namespace.inside(|| std::fs::write(&path, "-1").map_err(|error| file_error(&path, &error)))
}
