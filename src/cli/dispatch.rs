//! From parsed arguments to the command's code in `app`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::{BackendArgs, CheckArgs, Command, DnsArgs, RouterArgs};
use crate::{
    app::{
        self,
        backend::{BackendOptions, TlsFiles},
        dns::DnsOptions,
    },
    settings::{RouterSettings, env},
};

pub(super) async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Router(args) => app::router::run(router(*args)?).await,
        Command::Backend(args) => {
            app::backend::run(backend(args)).await.map(|()| ExitCode::SUCCESS)
        },
        _ => anyhow::bail!("not yet"),
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

/// Settings of the router: defaults, then the environment, then flags.
fn router(args: RouterArgs) -> anyhow::Result<RouterSettings> {
    let mut settings = RouterSettings::default();
    for note in env::apply(&mut settings, &env::ProcessEnv)? {
        tracing::warn!("{note}");
    }
    let RouterArgs { manifests, http, https, admin, default_cert, workers, .. } = args;
    if !manifests.is_empty() {
        settings.manifests = manifests;
    } else if settings.manifests == RouterSettings::default().manifests {
        settings.manifests.extend(std::fs::exists("certs")?.then(|| PathBuf::from("certs")));
    }
    set(&mut settings.http, http);
    set(&mut settings.https, https);
    set(&mut settings.admin, admin);
    set(&mut settings.workers, workers.map(|workers| workers.max(1)));
    set(&mut settings.cluster_domain, args.cluster_domain);
    set(&mut settings.router_name, args.router_name);
    set(&mut settings.domain, args.router_domain);
    set(&mut settings.max_connections, args.max_connections);
    settings.dns = args.dns.or(settings.dns);
    settings.default_cert = default_cert.or(settings.default_cert);
    settings.redirect_https_port = args.redirect_https_port.or(settings.redirect_https_port);
    settings.admin_allow.extend(args.admin_allow);
    settings.proxy_protocol |= args.proxy_protocol;
    settings.allow_loopback_endpoints |= args.allow_loopback_endpoints;
    settings.allow_wildcard_routes |= args.allow_wildcard_routes;
    settings.disable_namespace_ownership_check |= args.disable_namespace_ownership_check;
    settings.resolve_external_names |= args.resolve_external_names;
    settings.access_log &= !args.no_access_log;
    Ok(settings)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
