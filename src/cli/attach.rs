//! `attach`, and the original's form without that word.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::{complain, explain, print_json, say, watch};
use super::settings::SettingArgs;
use crate::external::hooks::HookSettings;
use crate::lifecycle::batch::Work;
use crate::lifecycle::{self, AttachError, Attached, Edit, End, Kept, Options, Stay};
use crate::model::command::Commands;
use crate::model::difference::Difference;
use crate::model::dynamic::Dynamic;
use crate::model::error::InputError;
use crate::model::facts::GuestId;
use crate::model::report::{Failure, Outcome, Report};
use crate::model::request::{AttachRequest, GuestRef};
use crate::model::topology::Attachment;
use crate::model::types::{IfAddr, IfName};
use crate::plan::Birth;
use crate::plan::execute::Event;
use crate::state;

/// The words of an attach, as typed.
#[derive(Clone, Debug, Default, Args)]
pub struct AttachArgs {
    /// Bridge (br..., and Open vSwitch's ovs..., is made when absent), NIC, InfiniBand interface, mac:<NIC's address>, or dummy
    #[arg(value_name = "HOSTIF")]
    host_if: String,
    /// Container's name or ID, docker:NAME, podman:NAME, lxc:NAME, pid:N, netns:NAME, netns:/path
    #[arg(value_name = "GUEST")]
    guest: Option<String>,
    /// IP/PREFIX[@GATEWAY], IPv4 or IPv6; 0/0 for a link without an address; pool:NAME[#IP] for one of a pool; dhcp, dhcp6, slaac, udhcpc[-f], dhclient[-f], dhcpcd[-f], dhcp-container
    #[arg(value_name = "ADDR")]
    addr: Option<String>,
    /// MAC address, or U:STRING to make one of any string, and @VLAN, @VLAN,TAGGED-TAGGED or @ad:VLAN (on InfiniBand: @PKEY)
    #[arg(value_name = "[MAC][@VLAN]")]
    mac_and_tag: Option<String>,
    /// Name of the interface in the guest, or auto: the first free one from eth1 on [default: eth1; on InfiniBand ib0]
    #[arg(short = 'i', value_name = "GUESTIF")]
    guest_if: Option<String>,
    /// Name of the veth pair's end on the host
    #[arg(short = 'l', value_name = "LOCALIF")]
    local_if: Option<String>,
    /// Address family: 4, 6, inet, inet6; read off the address when absent
    #[arg(short = 'a', value_name = "FAMILY")]
    family: Option<String>,
    /// Move the NIC itself into the guest, not a macvlan on it
    #[arg(long)]
    direct_phys: bool,
    /// Share the NIC by a macvlan in that mode: bridge (the default), vepa, private, passthru, source:MAC,MAC...
    #[arg(long, value_name = "MODE", conflicts_with_all = ["ipvlan", "macvtap", "direct_phys"])]
    macvlan: Option<String>,
    /// Share the NIC by an ipvlan, which has no MAC address of its own: l2, l3, l3s, with :private or :vepa behind it
    #[arg(long, value_name = "MODE", conflicts_with_all = ["macvtap", "direct_phys"])]
    ipvlan: Option<String>,
    /// Share the NIC by a macvtap, for a virtual machine; modes as macvlan's
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "bridge", conflicts_with = "direct_phys")]
    macvtap: Option<String>,
    /// Make an interface of ours that is there as asked, in place where the kernel can; make one when there is none
    #[arg(long, conflicts_with_all = ["add", "del"])]
    replace: bool,
    /// GUEST --add IP/PREFIX[,...]: give an attachment more addresses (GUEST is then the only word)
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    add: Vec<String>,
    /// GUEST --del IP/PREFIX[,...]: take addresses from an attachment
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    del: Vec<String>,
    /// Keep it as a wanted attachment, which `pipework repair` brings back after a restart of guest or host
    #[arg(long)]
    persist: bool,
    /// With @VLAN: make a bridge that is there filter VLANs, which its other ports will notice
    #[arg(long)]
    vlan_filtering: bool,
    /// With --direct-phys, passthru, --vlan-filtering: even where this host needs the NIC or bridge itself; also where another guest has the address
    #[arg(long)]
    force: bool,
    /// Let host and guest reach each other, which a macvlan alone does not; no address is used up for it
    #[arg(long)]
    host_access: bool,
    /// Ask the network who has the address first: off, warn (take it all the same), fail (leave nothing). Costs 0.3 s, with IPv6 1 to 2 s more; off costs no packet [default: off; fail for an address of a pool]
    #[arg(long, value_name = "MODE")]
    dad: Option<String>,
    /// With --dad: ask as slowly as RFC 5227 says, for hosts that are slow to answer. Costs 4 to 7 s
    #[arg(long)]
    dad_wait: bool,
    /// How long dhcp, dhcp6, slaac and the clients may take; then all is undone
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86400))]
    dhcp_timeout: u32,
    /// Write the DHCP server's DNS servers and domains into the guest's /etc/resolv.conf
    #[arg(long)]
    dhcp_dns: bool,
    /// Image with a udhcpc for dhcp-container [default: busybox]
    #[arg(long, value_name = "IMAGE")]
    dhcp_image: Option<String>,
    /// Open vSwitch's database: unix:PATH or tcp:ADDRESS:PORT [default: $OVS_DB, else ovs-vsctl's]
    #[arg(long, value_name = "ADDRESS")]
    ovsdb: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
    /// Say each step on standard error
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Print what would be done as `ip` and `ovs-vsctl` commands; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave the link /var/run/netns/PID in place
    #[arg(long)]
    keep_netns: bool,
    /// Make new links on the host first, then move and rename them, as the original did
    #[arg(long, hide = true)]
    via_host: bool,
}

impl AttachArgs {
    /// The words of the original's grammar without options but `-i`: for callers that have no command line.
    pub fn of(host_if: &str, guest: &str, addr: &str, mac_and_tag: &str, guest_if: Option<&str>) -> Self {
        Self {
            host_if: host_if.to_owned(),
            guest: Some(guest.to_owned()),
            addr: Some(addr.to_owned()),
            mac_and_tag: Some(mac_and_tag.to_owned()),
            guest_if: guest_if.map(str::to_owned),
            ..Self::default()
        }
    }
}

impl AttachArgs {
    /// The word for the guest, which is the only one when addresses are added or deleted, or its attachment is looked at.
    fn guest_word(&self) -> &str {
        self.guest.as_deref().unwrap_or(&self.host_if)
    }

    /// The words of a line that leaves the guest out, as if it had been there.
    pub(super) fn for_guest(self, guest: &GuestRef) -> Result<Self, String> {
        if self.dry_run || self.json || self.verbose {
            return Err("--dry-run, --json and -v are for the command line".into());
        }
        if !self.add.is_empty() || !self.del.is_empty() || self.replace || self.persist || self.via_host {
            return Err("--add, --del, --replace and --persist are for the command line".into());
        }
        if self.mac_and_tag.is_some() {
            return Err("one word too many: HOSTIF, ADDR and [MAC][@VLAN] are all, without the guest".into());
        }
        match self.guest {
            Some(addr) => Ok(Self { guest: Some(guest.to_string()), addr: Some(addr), mac_and_tag: self.addr, ..self }),
            None => Err("the words HOSTIF and ADDR are needed".into()),
        }
    }

    /// Whether the guest is the only word.
    fn is_guest_only(&self) -> bool {
        self.guest.is_none()
    }
}

/// The options as words, which the model reads as it reads those of a topology.
impl From<&AttachArgs> for Attachment {
    fn from(args: &AttachArgs) -> Self {
        Self {
            host_if: args.host_if.clone(),
            guest: args.guest_word().to_owned(),
            guest_if: args.guest_if.clone(),
            local_if: args.local_if.clone(),
            addresses: vec![args.addr.clone().unwrap_or_default()],
            family: args.family.clone(),
            mac: args.mac_and_tag.clone(),
            direct_phys: args.direct_phys,
            macvlan: args.macvlan.clone(),
            ipvlan: args.ipvlan.clone(),
            macvtap: args.macvtap.clone(),
            vlan_filtering: args.vlan_filtering,
            force: args.force,
            host_access: args.host_access,
            dad: args.dad.clone(),
            dad_wait: args.dad_wait,
            ..args.settings.words()
        }
    }
}

impl AttachArgs {
    /// What it asks for as a line of a batch.
    pub(super) fn work(&self) -> Result<Work, String> {
        if let Some(option) = whole_run([("--dry-run", self.dry_run), ("--json", self.json), ("-v", self.verbose)]) {
            return Err(option);
        }
        let options = Box::new(options(self));
        let say = |error: InputError| error.to_string();
        if !self.add.is_empty() || !self.del.is_empty() {
            if !self.is_guest_only() {
                return Err(EDITS.to_owned());
            }
            let (guest, interface, edit) = parse_edit(self).map_err(say)?;
            return Ok(Work::Edit { guest, interface, edit, options });
        }
        if self.is_guest_only() || self.addr.is_none() {
            return Err(WORDS.to_owned());
        }
        let request = Box::new(AttachRequest::try_from(self).map_err(say)?);
        Ok(Work::Attach { request, options, replace: self.replace })
    }
}

/// Options that are a whole run's, and not a line's of a batch.
pub(super) fn whole_run(options: [(&str, bool); 3]) -> Option<String> {
    let given = options.into_iter().find(|(_, given)| *given);
    given.map(|(option, _)| format!("{option} is for the whole batch, not for one line: batch has --check, --json and -v of its own"))
}

const WORDS: &str = "the words HOSTIF, GUEST and ADDR are needed, or GUEST with --add or --del";
const EDITS: &str = "--add and --del change an attachment: GUEST is the only word then, with -i where it has several";

impl TryFrom<&AttachArgs> for AttachRequest {
    type Error = InputError;

    fn try_from(args: &AttachArgs) -> Result<Self, InputError> {
        Attachment::from(args).request().map_err(|mut wrong| wrong.swap_remove(0).1)
    }
}

/// Parse, run, print.
pub(super) fn run(args: &AttachArgs) -> ExitCode {
    let edits = !args.add.is_empty() || !args.del.is_empty();
    if edits {
        return edit(args);
    }
    if args.is_guest_only() || args.addr.is_none() {
        return super::missing("attach", WORDS);
    }
    let request = match AttachRequest::try_from(args) {
        Ok(request) => request,
        Err(error) => return refuse(args, &error),
    };
    let mut watch = watch(args.verbose);
    let options = options(args);
    let attached = match args.replace {
        true => lifecycle::replace(&request, &options, &mut watch),
        false => lifecycle::attach(&request, &options, &mut watch),
    };
    end(args, attached, request.dynamic.as_ref(), &mut watch)
}

/// `attach GUEST --add ADDR --del ADDR`
fn edit(args: &AttachArgs) -> ExitCode {
    if !args.is_guest_only() {
        return super::missing("attach", EDITS);
    }
    let edit = match parse_edit(args) {
        Ok(edit) => edit,
        Err(error) => return refuse(args, &error),
    };
    let (guest, interface, edit) = edit;
    let mut watch = watch(args.verbose);
    let attached = lifecycle::edit(&guest, interface.as_ref(), &edit, &options(args), &mut watch);
    end(args, attached, None, &mut watch)
}

fn parse_edit(args: &AttachArgs) -> Result<(GuestRef, Option<IfName>, Edit), InputError> {
    let all = |texts: &[String]| texts.iter().map(|text| text.parse::<IfAddr>()).collect::<Result<Vec<_>, _>>();
    let interface = args.guest_if.as_deref().filter(|name| !name.is_empty()).map(str::parse).transpose()?;
    Ok((args.guest_word().parse()?, interface, Edit { add: all(&args.add)?, del: all(&args.del)? }))
}

fn refuse(args: &AttachArgs, error: &InputError) -> ExitCode {
    complain(&format!("pipework: {error}"));
    if args.json {
        print_json(&Failure::new(args.guest_word(), vec![error.to_string()], None, None));
    }
    ExitCode::FAILURE
}

fn end(
    args: &AttachArgs,
    attached: Result<Attached, AttachError>,
    dynamic: Option<&Dynamic>,
    watch: &mut dyn FnMut(Event<'_>),
) -> ExitCode {
    match attached {
        Ok(attached) => {
            print(args, dynamic, &attached.report, &attached.guest);
            if let Some(announcement) = attached.announcement {
                announcement.in_background();
            }
            attached.stay.map_or(ExitCode::SUCCESS, |stay| keep(args, *stay, watch))
        }
        Err(error) => {
            explain("attach", args.guest_word(), &error, args.json);
            ExitCode::FAILURE
        }
    }
}

/// What of an attachment is not as it is wanted (`diff`): exit status 2 then.
pub(super) fn diff(args: &AttachArgs) -> ExitCode {
    let options = options(args);
    let found = if args.is_guest_only() {
        let guest = match args.guest_word().parse::<GuestRef>() {
            Ok(guest) => guest,
            Err(error) => return refuse(args, &error),
        };
        let interface = match args.guest_if.as_deref().map(str::parse::<IfName>).transpose() {
            Ok(interface) => interface,
            Err(error) => return refuse(args, &error),
        };
        lifecycle::drift(&guest, interface.as_ref(), &options)
    } else if args.addr.is_none() {
        return super::missing("diff", "give GUEST alone, or all the words of an attach");
    } else {
        match AttachRequest::try_from(args) {
            Ok(request) => lifecycle::diff(&request, &options).map(|report| vec![report]),
            Err(error) => return refuse(args, &error),
        }
    };
    match found {
        Ok(reports) => {
            let differs = reports.iter().any(|report| !report.differences.is_empty());
            if args.json {
                reports.iter().for_each(print_json);
            } else {
                for report in &reports {
                    let line = |difference: &Difference| say(&format!("{} of {}: {difference}", report.interface, report.guest.name));
                    report.differences.iter().for_each(line);
                }
            }
            if differs { ExitCode::from(DRIFTED) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            explain("attach", args.guest_word(), &error, args.json);
            ExitCode::FAILURE
        }
    }
}

/// Exit status: something is not as it is wanted.
pub(super) const DRIFTED: u8 = 2;

/// How to go about it, as typed.
pub(super) fn options(args: &AttachArgs) -> Options {
    Options {
        dry_run: args.dry_run,
        steps: args.json || args.dry_run,
        keep_netns: args.keep_netns,
        dhcp_timeout: Some(Duration::from_secs(u64::from(args.dhcp_timeout))),
        dhcp_dns: args.dhcp_dns,
        ovsdb: args.ovsdb.clone().filter(|address| !address.is_empty()),
        birth: if args.via_host { Birth::Host } else { Birth::Guest },
        run_dir: state::run_dir(),
        pid_dir: state::pid_dir(),
        dhcp_image: args.dhcp_image.clone(),
        hooks: HookSettings::from_environment(),
        state_dir: state::state_dir(),
        persist: args.persist,
        resident: false,
        only_new: false,
        tell_links: false,
        claims: Some(super::pool::claims()),
    }
}

/// Stays with the lease. Only what the user has to know is told without -v.
fn keep(args: &AttachArgs, stay: Stay, watch: &mut dyn FnMut(Event<'_>)) -> ExitCode {
    let mut tell = |kept: Kept<'_>| match kept {
        Kept::Renewed(lease) if args.verbose => complain(&format!("pipework: {} renewed by {}", lease.addr, lease.server)),
        Kept::Renewed(_) => {}
        Kept::Leased(lease) => complain(&format!("pipework: new address {} from {}", lease.addr, lease.server)),
        Kept::Lost => complain("pipework: the lease was not extended: address removed, asking for another"),
        Kept::Failed(why) => complain(&format!("pipework: the lease cannot be used: {why}")),
    };
    match stay.run(&mut tell, watch) {
        Ok(end) => {
            if args.verbose {
                complain(&match end {
                    End::Released(signal) => format!("pipework: {signal}: address released, interface removed"),
                    End::GuestEnded => "pipework: the guest has ended".to_owned(),
                    End::LinkGone => "pipework: the interface was removed".to_owned(),
                    End::Left => "pipework: the lease is left as it is".to_owned(),
                });
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("pipework: keeping the lease of {}: {error}", args.guest_word()));
            ExitCode::FAILURE
        }
    }
}

fn print(args: &AttachArgs, dynamic: Option<&Dynamic>, report: &Report, guest: &GuestId) {
    for warning in &report.warnings {
        complain(&format!("pipework: warning: {warning}"));
    }
    if args.json {
        print_json(report);
    } else if report.result == Outcome::Planned {
        let commands = Commands::new(guest);
        let steps = report.steps.iter().map(|step| step.command.clone());
        let around = !report.steps.is_empty();
        let then = dynamic.filter(|_| around).and_then(|dynamic| commands.then(dynamic, &report.interface));
        let steps = steps.chain(then);
        let all = commands.before().filter(|_| around).into_iter().chain(steps).chain(commands.after().filter(|_| around));
        all.for_each(|line| say(&line));
    }
    if args.verbose {
        let what = match report.result {
            Outcome::Unchanged => "nothing to do: it is so already",
            Outcome::Planned => "nothing done: this was the plan",
            Outcome::Attached | Outcome::Changed | Outcome::Detached | Outcome::Cleared | Outcome::Failed => "done",
        };
        complain(&format!("pipework: {what} ({:.1} ms)", report.elapsed_us as f64 / 1000.0));
    }
}
