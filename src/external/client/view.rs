//! What a client sees of the file system: the host's, with places of its own wherever clients write. So the host's
//! resolv.conf and lease files stay as they are, and nothing of the host's can be asked to do anything: no bus, no
//! service manager, no udev.

use std::io::ErrorKind;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::kernel::netns::file_error;
use crate::model::error::KernelError;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where clients keep leases. dhcpcd's also has its identity.
const LEASES: [&str; 3] = ["/var/lib/dhcp", "/var/lib/dhclient", "/var/lib/dhcpcd"];
/// dhcpcd's identity (dhcpcd(8), FILES): with the host's it is the same client each time.
const IDENTITY: [&str; 2] = ["/var/lib/dhcpcd/duid", "/var/lib/dhcpcd/secret"];
/// Where the layers over /etc lie.
const LAYERS: [&str; 2] = ["/run/pipework/etc", "/run/pipework/work"];

/// Lays the client's own places over the host's. The process must have mounts of its own.
///
/// # Errors
/// The place that cannot be had.
pub(super) fn lay() -> Result<(), KernelError> {
    // Read now: what they lead to may be hidden soon.
    let resolv_conf = std::fs::read(RESOLV_CONF).ok();
    let identity: Vec<_> = IDENTITY.iter().filter_map(|path| Some((path, std::fs::read(path).ok()?))).collect();
    own("/run")?;
    if std::fs::symlink_metadata("/var/run").is_ok_and(|m| m.is_dir()) {
        own("/var/run")?;
    }
    own("/var/lib")?;
    LEASES.iter().chain(&LAYERS).try_for_each(|path| make_directory(path))?;
    for (path, content) in identity {
        write(path, &content)?;
    }
    own_etc(resolv_conf.as_deref())?;
    // A view of the guest's interfaces. Clients can do without.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    Ok(())
}

/// An empty directory in memory over one of the host's.
fn own(path: &str) -> Result<(), KernelError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("pipework"), path, Some("tmpfs"), flags, Some("size=16m,mode=0755")).map_err(refused(path, "tmpfs"))
}

/// The host's /etc, in which all that is written goes to memory. Not resolv.conf alone: a client writes a new one beside it
/// first, and makes it where there is none.
fn own_etc(resolv_conf: Option<&[u8]>) -> Result<(), KernelError> {
    let [upper, work] = LAYERS;
    let options = format!("lowerdir=/etc,upperdir={upper},workdir={work}");
    mount(Some("pipework"), "/etc", Some("overlay"), MsFlags::empty(), Some(options.as_str())).map_err(refused("/etc", "overlay"))?;
    let Some(content) = resolv_conf else { return Ok(()) };
    // It may be a link into /run, or a mount of its own.
    match std::fs::remove_file(RESOLV_CONF) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file_error(Path::new(RESOLV_CONF), &error)),
        _ => write(RESOLV_CONF, content),
    }
}

fn refused(path: &str, kind: &str) -> impl Fn(nix::errno::Errno) -> KernelError {
    let text = format!("laying a file system of kind {kind} over {path}, for the client only");
    move |errno| KernelError::Refused { errno, text: Some(text.clone()) }
}

fn make_directory(path: &str) -> Result<(), KernelError> {
    std::fs::create_dir_all(path).map_err(|error| file_error(Path::new(path), &error))
}

fn write(path: &str, content: &[u8]) -> Result<(), KernelError> {
    std::fs::write(path, content).map_err(|error| file_error(Path::new(path), &error))
}
