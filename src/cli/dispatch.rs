//! From parsed arguments to the command's code in `app`.

use std::{
    io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use anyhow::Context as _;

use super::{
    BackendArgs, CertArgs, CheckArgs, Command, DescribeArgs, ExplainArgs, Explained, GetArgs,
    NlbArgs, ProxyArgs, ProxyMode, TraceArgs, UpArgs, Which, flags::Flags,
};
use crate::{
    app::{
        self,
        backend::{BackendOptions, TlsFiles},
        get::{Get, Selected, Streams},
        nlb::NlbOptions,
        offline,
        proxy::{Bind, Mode, ProxyOptions},
        trace::TraceOptions,
        up::UpOptions,
    },
    model::objects::Objects,
    nlb::{account::Environment, config::Realism},
    services::Node,
    settings::{
        RouterSettings,
        env::{self, Config},
    },
    task,
    vip::{VipOptions, nft::NftOptions},
};

/// Longest time for a health check.
const HEALTH: Duration = Duration::from_secs(2);

/// Commands that ask or look once; they need no runtime of their own kind.
pub(super) fn client(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::Check(args) => return check(&args, &mut out),
        Command::Explain(args) => explain(&args, &mut out)?,
        Command::Get(args) => get(args, &mut out)?,
        Command::Describe(args) => describe(args, &mut out)?,
        Command::Trace(args) => return Ok(trace(*args, &mut out)),
        Command::Cert(args) => cert(&args, &mut out)?,
        Command::Healthcheck(args) => match args.dns {
            Some(server) => app::healthcheck::dns(server, &args.cluster_domain, HEALTH)?,
            None => app::healthcheck::http(&args.url, HEALTH)?,
        },
        Command::Version => writeln!(out, "wharf {}", env!("CARGO_PKG_VERSION"))?,
        Command::Router(args) => {
            let config = app::router::check(router(&args.flags)?)?;
            args.dns.of_server(config.settings.dns.is_some())?;
            app::config::print(&config, &args.output, &mut out)?;
        },
        // The servers are `serve`'s.
        Command::Backend(_)
        | Command::Dns(_)
        | Command::Nlb(_)
        | Command::Proxy(_)
        | Command::Up(_) => {},
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands that run until a signal.
pub(super) async fn serve(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Backend(args) => return app::backend::run(backend(args)).await,
        Command::Dns(args) => return super::dns::serve(*args).await,
        Command::Proxy(args) => return app::proxy::run(proxy(args)).await,
        Command::Nlb(args) => return app::nlb::run(nlb(*args)?).await,
        Command::Router(args) => {
            let settings = router(&args.flags)?.settings;
            let dns = args.dns.of_server(settings.dns.is_some())?;
            return app::router::run(settings, dns.into()).await;
        },
        Command::Up(args) => return app::up::run(up(*args)).await,
        // The others are `client`'s.
        Command::Cert(_)
        | Command::Check(_)
        | Command::Describe(_)
        | Command::Explain(_)
        | Command::Get(_)
        | Command::Healthcheck(_)
        | Command::Trace(_)
        | Command::Version => {},
    }
    Ok(ExitCode::SUCCESS)
}

/// True for commands that [`serve`] runs.
pub(super) fn is_server(command: &Command) -> bool {
    match command {
        Command::Router(args) => !args.print_config,
        Command::Backend(_)
        | Command::Dns(_)
        | Command::Nlb(_)
        | Command::Proxy(_)
        | Command::Up(_) => true,
        _ => false,
    }
}

/// Threads for what is not the data path. A DNS server has but changes there: one thread has all of its zones
/// in the memory that the last one left.
pub(super) const fn control_threads(command: &Command) -> usize {
    if matches!(command, Command::Dns(_)) { 1 } else { 2 }
}

fn check(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if args.schema {
        app::check::print_schema(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = of_environment()?;
    let compile = |objects: &Objects| {
        let mut findings = offline::compile(objects, Vec::new(), &settings).map_or_else(
            |error| {
                tracing::error!("cannot compile: {error:#}");
                Vec::new()
            },
            |snapshot| snapshot.findings,
        );
        findings.extend(app::nlb::manifests::findings(objects));
        findings
    };
    let errors = app::check::run(&offline::scan(&args.paths, &settings), compile, out)?;
    Ok(if errors { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn explain(args: &ExplainArgs, out: &mut impl Write) -> anyhow::Result<()> {
    if app::explain::is_code(&args.what) {
        let page = app::check::explain_code(&args.what)
            .with_context(|| format!("there is no finding code {}", args.what))?;
        return Ok(write!(out, "{page}")?);
    }
    let json = args.output == Explained::Json;
    if args.place.manifests.is_empty() {
        let server = args.place.server.map(|server| server.to_string());
        app::explain::live(&args.what, server.as_deref(), json, out)?;
    } else {
        let snapshot = offline::snapshot(&args.place.manifests, &of_environment()?)?;
        app::explain::offline(&args.what, &snapshot, json, out)?;
    }
    Ok(())
}

fn get(args: GetArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let (output, headers) = (args.output, !args.no_headers);
    let get = Get { selected: selected(args.which)?, output, headers };
    let mut streams = Streams { out, talk: &mut std::io::stderr() };
    if args.place.manifests.is_empty() {
        let server = args.place.server.map(|server| server.to_string());
        app::get::live(&get, server.as_deref(), &mut streams)?;
    } else {
        let snapshot = offline::snapshot(&args.place.manifests, &of_environment()?)?;
        app::get::offline(&get, &snapshot, &mut streams)?;
    }
    Ok(())
}

fn describe(args: DescribeArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let selected = selected(args.which)?;
    if args.place.manifests.is_empty() {
        let server = args.place.server.map(|server| server.to_string());
        app::describe::live(&selected, server.as_deref(), out)?;
    } else {
        let snapshot = offline::snapshot(&args.place.manifests, &of_environment()?)?;
        app::describe::offline(&selected, &snapshot, out)?;
    }
    Ok(())
}

fn selected(which: Which) -> anyhow::Result<Selected> {
    let mut names = which.names;
    if let Some(name) = which.resource.name {
        anyhow::ensure!(
            names.is_empty(),
            "there is one name behind the slash and another behind it"
        );
        names.push(name);
    }
    Ok(Selected {
        kind: which.resource.kind,
        names,
        namespace: which.namespace,
        labels: which.selector,
    })
}

/// 0 when the whole path answers, 1 when it breaks, 2 when there is nothing to trace.
fn trace(args: TraceArgs, out: &mut impl Write) -> ExitCode {
    let options = TraceOptions {
        what: args.what,
        explain: args.explain,
        via: args.via,
        dns: args.dns,
        nlb: args.nlb_server,
        admin: args.admin,
        ca: args.cacert,
        insecure: args.insecure,
        timeout: Duration::from_secs(args.timeout),
        json: args.output == Explained::Json,
    };
    match app::trace::run(&options, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            super::failed(&error.into());
            ExitCode::from(2)
        },
    }
}

fn cert(args: &CertArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let (objects, findings) = offline::objects(&args.manifests, &of_environment()?);
    for finding in findings {
        tracing::warn!("{finding}");
    }
    let wanted = offline::wanted_secrets(&objects);
    for made in app::cert::run(&args.dir, &wanted, args.force)? {
        writeln!(out, "{} {}", if made.new { "made" } else { "kept" }, made.path.display())?;
    }
    Ok(())
}

fn nlb(args: NlbArgs) -> anyhow::Result<NlbOptions> {
    let realism = Realism {
        check_from_each_zone: args.check_from_each_zone,
        propagation_delay: args.propagation_delay,
    };
    let mut environment = Environment {
        instances: args.instance.into_iter().collect(),
        certificates: args.certificate.iter().cloned().collect(),
        buckets: args.bucket.iter().cloned().collect(),
        realism,
        ..Environment::default()
    };
    if !args.zone.is_empty() {
        environment.zones.clone_from(&args.zone);
    }
    let forward = args.forward.of_server(args.dns.is_some())?;
    Ok(NlbOptions {
        environment,
        state: args.state_dir,
        config: args.config,
        manifests: args.manifests,
        services: app::nlb::manifests::Options {
            zones: args.zone,
            listen: args.listen_map,
            fast_checks: args.allow_fast_checks,
            realism,
            shared_probe: args.shared_health_probe,
            keep_addresses: args.keep_client_addresses,
            certificates: args.certificate.into_iter().collect(),
            buckets: args.bucket.into_iter().collect(),
        },
        api: Some(args.api.unwrap_or(app::nlb::DEFAULT_API)),
        dns: args.dns,
        forwarding: forward.into(),
        drop_unmatched: args.drop_unmatched,
        workers: args.workers.map_or_else(task::workers::cores, usize::from),
        grace: args.grace.map_or(app::nlb::DEFAULT_GRACE, Duration::from_secs),
    })
}

fn proxy(args: ProxyArgs) -> ProxyOptions {
    let node = Node { name: args.node_name.into(), zone: args.zone.into() };
    let mode = match args.mode {
        ProxyMode::Userspace => Mode::Userspace(VipOptions {
            node,
            scheduler: args.scheduler,
            maps: args.vip_map,
            node_addresses: args.node_address,
            cluster: args.cluster_cidr,
            connections: args.max_connections,
            totals: Arc::default(),
        }),
        ProxyMode::Nftables => Mode::Nftables {
            options: NftOptions {
                node,
                cluster: args.cluster_cidr,
                service_ranges: args.service_cidr,
                node_addresses: args.node_address,
            },
            keep: args.keep_rules,
        },
    };
    let bind = |asked: Option<SocketAddr>, port| Bind {
        address: asked.unwrap_or_else(|| ([127, 0, 0, 1], port).into()),
        is_needed: asked.is_some(),
    };
    ProxyOptions {
        manifests: args.manifests,
        mode,
        grace: Duration::from_secs(args.grace),
        period: Duration::from_secs(args.sync_period),
        health: bind(args.healthz_bind_address, 10_256),
        metrics: bind(args.metrics_bind_address, 10_249),
    }
}

fn up(args: UpArgs) -> UpOptions {
    UpOptions {
        manifests: args.manifests,
        certs: args.certs,
        access_log: args.access_log,
        dns: args.dns.into_flags().into(),
    }
}

fn backend(args: BackendArgs) -> BackendOptions {
    let tls = args.tls_cert.zip(args.tls_key);
    BackendOptions {
        listen: args.listen,
        name: args.name,
        namespace: args.namespace,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        lame_duck: Duration::from_secs(args.lame_duck),
    }
}

/// The settings of a router that is given nothing but the variables of this process, so that what looks
/// at manifests says what such a router would do.
fn of_environment() -> anyhow::Result<RouterSettings> {
    Ok(configured()?.settings)
}

/// What the variables of this process say.
fn configured() -> anyhow::Result<Config> {
    let (config, notes) = Config::of(&env::ProcessEnv)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok(config)
}

/// Settings of the router: defaults, then the environment, then flags.
fn router(flags: &Flags) -> anyhow::Result<Config> {
    let mut config = configured()?;
    flags.apply(&mut config)?;
    if config.is_default("WHARF_MANIFESTS") && std::fs::exists("certs")? {
        config.adjust("it is there", |settings| settings.manifests.push(PathBuf::from("certs")));
    }
    config.settings.check()?;
    Ok(config)
}
