//! The program as a CNI plugin: where runtimes look for plugins, and a network's configuration to begin with.

use std::path::PathBuf;

use super::{Change, InstallError, Placed, place};
use crate::model::cni::{NetworkName, OWN, example};

/// Where runtimes look for plugins (Kubernetes', containerd's and Podman's usual).
pub const BIN_DIR: &str = "/opt/cni/bin";
/// Where they look for networks.
pub const NET_DIR: &str = "/etc/cni/net.d";
/// The name of the example's file, which no runtime takes for a network.
const EXAMPLE: &str = "50-pipework.conflist.example";

/// The plugin and its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniPlugin {
    /// The directory of plugins.
    pub bin_dir: PathBuf,
    /// The directory of networks.
    pub net_dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// A network to begin with; only an example when absent.
    pub network: Option<NetworkName>,
}

impl CniPlugin {
    fn plugin(&self) -> PathBuf {
        self.bin_dir.join(OWN)
    }

    fn list(&self) -> PathBuf {
        let name = self.network.as_ref().map_or_else(|| EXAMPLE.to_owned(), |network| format!("50-{network}.conflist"));
        self.net_dir.join(name)
    }

    fn text(&self) -> Result<String, InstallError> {
        let network = match &self.network {
            Some(network) => network.clone(),
            None => "lan".parse().map_err(|error: crate::model::cni::CniError| InstallError::new(&self.net_dir, error))?,
        };
        Ok(example(&network))
    }

    /// Puts the program among the plugins, and writes the network.
    ///
    /// # Errors
    /// [`InstallError`]
    pub fn install(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let (list, text) = (self.list(), self.text()?);
        // Whoever has made it his own is not to lose it.
        let is_own = place::text(&list)?.filter(|_| self.network.is_some()).is_some_and(|there| there != text);
        if is_own {
            return Err(InstallError::new(&list, "the network is there already, and is not the one to begin with: it stays as it is"));
        }
        let plugin = place::program(&self.plugin(), &self.program, dry_run)?;
        Ok(vec![plugin, place::write(&list, text, dry_run)?])
    }

    /// Removes the program from the plugins, and the network, where nobody has changed it.
    ///
    /// # Errors
    /// [`InstallError`]
    pub fn remove(&self, dry_run: bool) -> Result<Vec<Placed>, InstallError> {
        let (list, text) = (self.list(), self.text()?);
        let is_ours = place::text(&list)?.is_some_and(|there| there == text);
        let is_plugin = place::is_same(&self.plugin(), &self.program)?;
        Ok(vec![place::remove(&list, is_ours, dry_run)?, place::remove(&self.plugin(), is_plugin, dry_run)?])
    }

    /// Whether there is something to be said about what was done.
    pub fn then(&self, placed: &[Placed]) -> Option<String> {
        let is_written = placed.iter().any(|placed| matches!(placed.change, Change::Written { .. }));
        let list = self.list();
        is_written.then(|| match &self.network {
            Some(_) => format!("say in {} which bridge and which addresses it is to have", list.display()),
            None => format!(
                "a network: copy {} to a name that ends in .conflist, and change it; or install with --network NAME",
                list.display()
            ),
        })
    }
}
