//! `pipework pool` and `pipework release`: who has which address for good, and giving it back.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{complain, print_json, say, tell_failure};
use crate::cluster::configured::Configured;
use crate::lifecycle::AttachError;
use crate::lifecycle::claims::{ClaimError, Claimed, Claims, Collected, InUse, collect};
use crate::model::cluster::DEFAULT_FILE;
use crate::model::pool::{Owner, Pool, PoolName, PoolWord};
use crate::model::report::{Failure, SCHEMA};
use crate::state;

/// Where a single host's pools are, unless `PIPEWORK_POOLS` names another file.
const POOLS: &str = "/etc/pipework/pools.toml";
const DAY_S: u64 = 86_400;

/// The words of `pool`, as typed.
#[derive(Clone, Debug, Args)]
pub struct PoolArgs {
    #[command(subcommand)]
    command: PoolCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum PoolCommand {
    /// All pools, with how many of their addresses are claimed and free
    List {
        /// Report as one JSON document on standard output
        #[arg(long)]
        json: bool,
    },
    /// Who has which address of a pool
    Show {
        /// Its name, or pool:NAME
        #[arg(value_name = "POOL")]
        pool: String,
        /// Report as one JSON document on standard output
        #[arg(long)]
        json: bool,
    },
    /// End claims that nobody asked for since so many days, whose owners so are gone for good
    Gc {
        /// Its name, or pool:NAME [default: all pools]
        #[arg(value_name = "POOL")]
        pool: Option<String>,
        /// How long ago a claim was last asked for. What an attachment of this host has, or an agent holds, stays
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
        older: u32,
        /// Tell only which
        #[arg(long)]
        dry_run: bool,
        /// Report as one JSON document on standard output
        #[arg(long)]
        json: bool,
    },
}

/// The words of `release`, as typed.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArgs {
    /// pool:NAME
    #[arg(value_name = "POOL")]
    pool: String,
    /// Whose address: a container's name, SERVICE/SLOT of a Swarm task, or netns:NAME
    #[arg(value_name = "OWNER")]
    owner: String,
    /// Report as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Where this process claims addresses: one connection for all that it does.
pub(super) fn claims() -> Arc<dyn Claims> {
    static CLAIMS: OnceLock<Arc<Configured>> = OnceLock::new();
    let named = |variable: &str, usual: &str| std::env::var(variable).ok().filter(|path| !path.is_empty()).unwrap_or_else(|| usual.into());
    let make = || {
        let (cluster, pools) = (named("PIPEWORK_CLUSTER", DEFAULT_FILE), named("PIPEWORK_POOLS", POOLS));
        Arc::new(Configured::new(Path::new(&cluster), Path::new(&pools), &state::state_dir()))
    };
    CLAIMS.get_or_init(make).clone()
}

/// A pool in numbers.
#[derive(Serialize)]
struct Account {
    #[serde(flatten)]
    pool: Pool,
    size: u128,
    claimed: usize,
    kept_back: u128,
    free: u128,
}

#[derive(Serialize)]
struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Shown {
    pool: Account,
    claims: Vec<Claimed>,
}

#[derive(Serialize)]
struct Listed {
    pools: Vec<Account>,
}

#[derive(Serialize)]
struct Freed {
    dry_run: bool,
    freed: Vec<FreedClaim>,
}

#[derive(Serialize)]
struct FreedClaim {
    pool: PoolName,
    #[serde(flatten)]
    claimed: Claimed,
}

#[derive(Serialize)]
struct Released {
    pool: PoolName,
    owner: Owner,
    /// Absent when it had none.
    address: Option<std::net::IpAddr>,
}

/// Why it was not done, for people.
struct Trouble {
    chain: Vec<String>,
    hint: Option<String>,
}

impl From<ClaimError> for Trouble {
    fn from(error: ClaimError) -> Self {
        AttachError::from(error).into()
    }
}

impl From<AttachError> for Trouble {
    fn from(error: AttachError) -> Self {
        Self { chain: error.chain(), hint: error.hint() }
    }
}

impl From<crate::model::error::InputError> for Trouble {
    fn from(error: crate::model::error::InputError) -> Self {
        Self { chain: vec![error.to_string()], hint: None }
    }
}

/// Parse, run, print.
pub(super) fn run(args: &PoolArgs) -> ExitCode {
    let claims = claims();
    let (done, json) = match &args.command {
        PoolCommand::List { json } => (list(&*claims, *json), *json),
        PoolCommand::Show { pool, json } => (show(&*claims, pool, *json), *json),
        PoolCommand::Gc { pool, older, dry_run, json } => (gc(&*claims, pool.as_deref(), *older, *dry_run, *json), *json),
    };
    end("pool", done, json)
}

/// Parse, run, print.
pub(super) fn release(args: &ReleaseArgs) -> ExitCode {
    let release = || -> Result<(), Trouble> {
        let (pool, owner) = (name(&args.pool)?, args.owner.parse::<Owner>()?);
        let claims = claims();
        claims.pool(&pool)?;
        let address = claims.release(&pool, &owner)?;
        if args.json {
            print_json(&Document { schema: SCHEMA, body: Released { pool, owner, address } });
        } else if let Some(address) = address {
            say(&format!("{address} of pool {pool} is free: it was {owner}'s"));
        } else {
            say(&format!("{owner} has no address of pool {pool}"));
        }
        Ok(())
    };
    end("release", release(), args.json)
}

fn end(verb: &str, done: Result<(), Trouble>, json: bool) -> ExitCode {
    let Err(Trouble { chain, hint }) = done else { return ExitCode::SUCCESS };
    tell_failure(verb, &chain, hint.as_deref(), None);
    if json {
        print_json(&Failure::new("", chain, hint, None));
    }
    ExitCode::FAILURE
}

/// `NAME` or `pool:NAME`
fn name(text: &str) -> Result<PoolName, Trouble> {
    if !text.starts_with(PoolWord::PREFIX) {
        return Ok(text.parse()?);
    }
    let word: PoolWord = text.parse()?;
    match word.wish {
        None => Ok(word.pool),
        Some(_) => Err(Trouble { chain: vec![format!("{text}: the pool alone is meant: pool:{}", word.pool)], hint: None }),
    }
}

fn account(pool: Pool, claimed: &[Claimed]) -> Account {
    let (size, kept_back) = (pool.size(), pool.kept_back());
    let inside = claimed.iter().filter(|claimed| pool.refuses(claimed.addr).is_none()).count();
    Account { size, claimed: claimed.len(), kept_back, free: size.saturating_sub(kept_back).saturating_sub(inside as u128), pool }
}

fn list(claims: &dyn Claims, json: bool) -> Result<(), Trouble> {
    let mut pools = Vec::new();
    for pool in claims.pools()? {
        let claimed = claims.all(&pool.name)?;
        pools.push(account(pool, &claimed));
    }
    if json {
        print_json(&Document { schema: SCHEMA, body: Listed { pools } });
        return Ok(());
    }
    if pools.is_empty() {
        complain(&format!("pipework: {} has no pool", claims.place()));
    }
    pools.iter().for_each(|account| say(&line(account)));
    Ok(())
}

fn line(account: &Account) -> String {
    let Account { pool, size, claimed, kept_back, free } = account;
    let (first, last) = pool.bounds();
    format!("{}  {}  {first}-{last}  {size} addresses, {claimed} claimed, {kept_back} reserved, {free} free", pool.name, pool.subnet)
}

fn show(claims: &dyn Claims, word: &str, json: bool) -> Result<(), Trouble> {
    let pool = claims.pool(&name(word)?)?;
    let all = claims.all(&pool.name)?;
    let account = account(pool, &all);
    if json {
        print_json(&Document { schema: SCHEMA, body: Shown { pool: account, claims: all } });
        return Ok(());
    }
    say(&line(&account));
    for Claimed { addr, owner, since, seen, user } in &all {
        let on = user.as_ref().map(|user| format!(", in use on {}", user.host)).unwrap_or_default();
        say(&format!("{addr}  {owner}  since {since}, seen {seen}{on}"));
    }
    Ok(())
}

fn gc(claims: &dyn Claims, word: Option<&str>, days: u32, dry_run: bool, json: bool) -> Result<(), Trouble> {
    let names = match word {
        Some(word) => vec![claims.pool(&name(word)?)?.name],
        None => claims.pools()?.into_iter().map(|pool| pool.name).collect(),
    };
    let in_use = InUse::here(&state::run_dir())?;
    let mut freed = Vec::new();
    for pool in &names {
        freed.extend(collect(claims, pool, u64::from(days) * DAY_S, &in_use, dry_run)?);
    }
    if json {
        let freed = freed.into_iter().map(|Collected { pool, claimed }| FreedClaim { pool, claimed }).collect();
        print_json(&Document { schema: SCHEMA, body: Freed { dry_run, freed } });
        return Ok(());
    }
    let verb = if dry_run { "would free" } else { "freed" };
    for Collected { pool, claimed } in &freed {
        say(&format!("{verb}: {} of pool {pool}, {}'s, last seen {}", claimed.addr, claimed.owner, claimed.seen));
    }
    Ok(())
}
