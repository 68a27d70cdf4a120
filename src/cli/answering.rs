//! The flags of a DNS server: what its zone shows, and how it asks for names outside.
//!
//! `wharf dns` has them by these names; `wharf up`, `wharf router` and `wharf nlb`, where DNS is one part
//! among others, by names that begin with `dns-` ([`Prefixed`]). Always holds: the id of each is that name.

use std::{sync::Arc, time::Duration};

use clap::{ArgMatches, Args, Command, FromArgMatches, builder::Str, parser::ValueSource};

use crate::{
    app::dns::{Answering, Forwarding, parse_forward, parse_service},
    dns::{
        resolver::{CacheOptions, ForwardOptions, ForwardZone, Policy, PoolOptions, Prefetch},
        server::Settings,
    },
    model::objects::ObjectKey,
    zone::{
        PodMode, ZoneOptions,
        options::{MAX_TTL, REVERSE_ZONES},
        reverse_zone,
    },
};

/// All of them.
#[derive(Debug, Args)]
pub(super) struct AnsweringArgs {
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    forward: ForwardArgs,
}

#[derive(Debug, Args)]
pub(super) struct ZoneArgs {
    /// Which names below pod.<domain> exist
    #[arg(id = "dns-pods", long = "pods", value_name = "MODE", default_value = "insecure")]
    pods: PodsMode,
    /// TTL of the records of Services and pods, seconds
    #[arg(id = "dns-ttl", long = "ttl", value_name = "SECONDS", default_value = "5",
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_TTL)))]
    ttl: u32,
    /// Namespace whose names are shown; may be repeated [default: all]
    #[arg(id = "dns-namespace", long = "namespace", value_name = "NAME")]
    namespace: Vec<String>,
    /// Names an endpoint without a host name like its pod instead of its address
    #[arg(id = "dns-endpoint-pod-names", long = "endpoint-pod-names")]
    endpoint_pod_names: bool,
    /// Services with a cluster IP but no ready endpoint do not exist
    #[arg(id = "dns-ignore-empty-service", long = "ignore-empty-service")]
    ignore_empty_service: bool,
    /// Addresses that are answered here: a network such as 10.0.0.0/16, or a name below in-addr.arpa or
    /// ip6.arpa; may be repeated
    #[arg(id = "dns-reverse-zone", long = "reverse-zone", value_name = "ZONE", value_parser = reverse_zone, default_values = REVERSE_ZONES)]
    reverse_zone: Vec<Arc<str>>,
    /// An address that nothing here has does not exist, instead of being asked for outside
    #[arg(id = "dns-no-fallthrough", long = "no-fallthrough")]
    no_fallthrough: bool,
    /// The Service that clients reach this server by, which the zone names as its name server
    /// [default: the one that has the server's address]
    #[arg(id = "dns-service", long = "dns-service", value_name = "NAMESPACE/NAME", value_parser = parse_service)]
    dns_service: Option<ObjectKey>,
}

#[derive(Debug, Args)]
pub(super) struct ForwardArgs {
    /// Name servers for names that are not answered here, up to 15, for every name or for those of one
    /// zone; the longest zone counts; may be repeated
    #[arg(id = "dns-forward", long = "forward", value_name = "[ZONE=]ADDR[,ADDR...]", value_parser = parse_forward)]
    forward: Vec<ForwardZone>,
    /// Asks the name servers of the system for names that no other name server is set for
    #[arg(id = "dns-forward-system", long = "forward-system")]
    forward_system: bool,
    /// Which name server of a zone is asked first
    #[arg(
        id = "dns-forward-policy",
        long = "forward-policy",
        value_name = "POLICY",
        default_value = "sequential"
    )]
    forward_policy: PolicyArg,
    /// Questions that wait for a name server at once; more are refused
    #[arg(id = "dns-forward-max-concurrent", long = "forward-max-concurrent", value_name = "COUNT", default_value = "256",
          value_parser = clap::value_parser!(u16).range(1..))]
    forward_max_concurrent: u16,
    /// Longest time that an answer from outside is kept, seconds
    #[arg(id = "dns-cache-ttl", long = "cache-ttl", value_name = "SECONDS", default_value = "900",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    cache_ttl: u64,
    /// The same for a name or type that does not exist
    #[arg(id = "dns-cache-denial-ttl", long = "cache-denial-ttl", value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    cache_denial_ttl: u64,
    /// Answers kept at once, and as many denials; 0 keeps none
    #[arg(id = "dns-cache-entries", long = "cache-entries", value_name = "COUNT", default_value = "9984",
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    cache_entries: u32,
    /// How long after its end an answer is given while it is asked for again, seconds; 0 is never
    #[arg(id = "dns-serve-stale", long = "serve-stale", value_name = "SECONDS", default_value = "0",
          value_parser = clap::value_parser!(u64).range(..=86_400))]
    serve_stale: u64,
    /// Asks again before its end for what has been asked for this often, no more than a minute apart;
    /// 0 is never
    #[arg(id = "dns-prefetch", long = "prefetch", value_name = "COUNT", default_value = "0")]
    prefetch: u32,
}

/// Names of pods, as CoreDNS's option `pods` has them.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PodsMode {
    /// None
    Disabled,
    /// Every address, in a namespace that exists
    Insecure,
    /// Addresses of pods that an endpoint of the namespace names
    Verified,
}

/// Order of name servers, as CoreDNS's option `policy` has it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PolicyArg {
    /// The first that answers, in the order of the flags
    Sequential,
    /// Any
    Random,
    /// Each in turn
    #[value(name = "round_robin")]
    RoundRobin,
}

impl From<ZoneArgs> for ZoneOptions {
    fn from(args: ZoneArgs) -> Self {
        Self {
            pods: match args.pods {
                PodsMode::Disabled => PodMode::Disabled,
                PodsMode::Insecure => PodMode::Insecure,
                PodsMode::Verified => PodMode::Verified,
            },
            ttl: args.ttl,
            namespaces: args
                .namespace
                .iter()
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
            endpoint_pod_names: args.endpoint_pod_names,
            ignore_empty_service: args.ignore_empty_service,
            reverse_zones: args.reverse_zone,
            fallthrough: !args.no_fallthrough,
            dns_service: args.dns_service,
            ..Self::default()
        }
    }
}

fn asking(args: &ForwardArgs) -> ForwardOptions {
    let entries = usize::try_from(args.cache_entries).unwrap_or(usize::MAX);
    ForwardOptions {
        pool: PoolOptions {
            policy: match args.forward_policy {
                PolicyArg::Sequential => Policy::Sequential,
                PolicyArg::Random => Policy::Random,
                PolicyArg::RoundRobin => Policy::RoundRobin,
            },
            ..PoolOptions::default()
        },
        cache: CacheOptions {
            max_ttl: Duration::from_secs(args.cache_ttl),
            max_denial_ttl: Duration::from_secs(args.cache_denial_ttl),
            entries,
            denial_entries: entries,
            serve_stale: Duration::from_secs(args.serve_stale),
            prefetch: (args.prefetch > 0).then(|| Prefetch::after(args.prefetch)),
            ..CacheOptions::default()
        },
        ..ForwardOptions::default()
    }
}

impl From<ForwardArgs> for Forwarding {
    fn from(args: ForwardArgs) -> Self {
        let max_forwards = args.forward_max_concurrent.into();
        Self {
            asking: asking(&args),
            servers: args.forward,
            system: args.forward_system,
            settings: Settings { max_forwards, ..Settings::default() },
        }
    }
}

impl From<AnsweringArgs> for Answering {
    fn from(args: AnsweringArgs) -> Self {
        Self { zone: args.zone.into(), forwarding: args.forward.into(), view: None }
    }
}

/// The flags of `T` by names that begin with `dns-`.
#[derive(Debug)]
pub(super) struct Prefixed<T> {
    flags: T,
    /// One that was given.
    given: Option<String>,
}

impl<T> Prefixed<T> {
    /// The flags, for a command whose DNS server is there.
    pub(super) fn into_flags(self) -> T {
        self.flags
    }

    /// The flags, for a command that has a DNS server if it is told to.
    pub(super) fn of_server(self, is_there: bool) -> anyhow::Result<T> {
        if let (Some(flag), false) = (&self.given, is_there) {
            anyhow::bail!(
                "--{flag} says how the DNS server answers, but there is none; add --dns ADDR"
            );
        }
        Ok(self.flags)
    }
}

impl<T: Args> FromArgMatches for Prefixed<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let own = T::augment_args(Command::new("dns"));
        let mut ids = own.get_arguments().map(|flag| flag.get_id());
        let given =
            |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let given = ids.find(given).map(ToString::to_string);
        Ok(Self { flags: T::from_arg_matches(matches)?, given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: Args> Args for Prefixed<T> {
    fn augment_args(command: Command) -> Command {
        let own = T::augment_args(Command::new("dns"));
        own.get_arguments().cloned().fold(command, |command, flag| {
            let name = Str::from(flag.get_id().clone());
            command.arg(flag.long(name).help_heading("DNS"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests;
