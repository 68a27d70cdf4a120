//! `wharf up`: the whole path in one process, unprivileged: NLB → two routers → DNS → sample pods.
//!
//! Each part is the same code as its own command. The routers take part with PROXY headers, as behind
//! a real load balancer.

mod pods;
#[cfg(test)]
mod tests;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    bind, cert,
    dns::Answering,
    nlb::{self, Fleet, Names},
    offline,
    router::{self, Router},
    signal::Signals,
};
use crate::{
    health::State,
    model::objects::Objects,
    nlb::{
        account::Environment,
        config::{NlbConfig, parse},
        server::NlbHandle,
    },
    settings::{DefaultCert, RouterSettings, Timeouts, env::program},
    task::workers::Workers,
};

const HTTP: u16 = 8080;
const HTTPS: u16 = 8443;
const DNS: u16 = 8053;
const ADMIN: [u16; 2] = [1936, 1937];
const NLB_API: u16 = 9090;
/// The node of zone b; that of zone a is 127.0.0.1.
const NODE_B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Pods are in 127.77.0.0/16.
const PODS: u8 = 77;

/// How long the first snapshot and the first health checks may take.
const START: Duration = Duration::from_secs(30);

/// How long requests may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

/// What `wharf up` is told.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Manifest files and directories.
    pub manifests: Vec<PathBuf>,
    /// Folder of the development certificates; made when it is missing.
    pub certs: PathBuf,
    /// Access log on stdout.
    pub access_log: bool,
    /// What its DNS server answers beside the names of its load balancers.
    pub dns: Answering,
}

/// Where the parts listen on 127.0.0.1; the listeners of the load balancer also on [`NODE_B`].
#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    https: u16,
    dns: u16,
    admin: [u16; 2],
    nlb_api: u16,
}

const PORTS: Ports = Ports { http: HTTP, https: HTTPS, dns: DNS, admin: ADMIN, nlb_api: NLB_API };

/// Everything, running.
#[derive(Debug)]
struct Up {
    objects: Objects,
    pods: usize,
    a: Router,
    b: Router,
    balancer: NlbHandle,
    fleet: Fleet,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

/// Runs everything until a signal stops it.
///
/// # Errors
/// When a port is taken or a certificate cannot be made; the text says what to do.
pub async fn run(options: UpOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let up = start(&options, PORTS, PODS).await?;
    banner(&up, &options.certs)?;
    signals.stop().await;
    let stop = async {
        up.stop().await;
        Ok(())
    };
    signals.unless_again(stop).await
}

/// Starts everything, with pods in 127.`net`.0.0/16, and waits until the load balancer has checked it.
async fn start(options: &UpOptions, ports: Ports, net: u8) -> anyhow::Result<Up> {
    let objects = certified(options)?;
    let plan = pods::plan(&objects, net);
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    pods::start(&mut tasks, &plan.pods, &objects.secrets, &cancel)?;
    // Empty until the routers' ports are known.
    let fleet = Fleet::default();
    let settings = |index| settings(options, ports, index);
    let dns = answering(options, &fleet);
    let a = router::start_with(settings(0), plan.objects.clone(), dns).await?;
    let b = router::start(settings(1), plan.objects).await?;
    a.ready(START).await?;
    b.ready(START).await?;
    let config = load_balancer(ports, &a, &b)?;
    let balancer = NlbHandle::start(config, cancel.clone()).await?;
    fleet.join(balancer.clone());
    let listener = bind::tokio_tcp(loopback(ports.nlb_api))?;
    // What the API makes lives as long as this process.
    let (environment, workers) = (Environment::default(), Workers::default());
    let elbv2 = nlb::Elbv2::open(environment, None, fleet.clone(), workers, GRACE).await?;
    let serve = nlb::serve_api(listener, fleet.clone(), Some(elbv2));
    let api_cancel = cancel.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = serve => {},
            () = api_cancel.cancelled() => {},
        }
    });
    healthy(&balancer).await?;
    Ok(Up { objects, pods: plan.pods.len(), a, b, balancer, fleet, tasks, cancel })
}

impl Up {
    async fn stop(mut self) {
        let flows = self.fleet.drain(GRACE);
        tokio::join!(flows, self.a.finish(), self.b.finish());
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Mints the certificates that the manifests want, and reads everything with them: an Ingress becomes
/// TLS Routes only beside its Secret.
fn certified(options: &UpOptions) -> anyhow::Result<Objects> {
    // The routers log what is wrong with them.
    let (wanting, _) = offline::objects(&options.manifests, &RouterSettings::default());
    cert::run(&options.certs, &offline::wanted_secrets(&wanting), false)
        .context("cannot make the development certificates")?;
    let (objects, _) = offline::objects(&sources(options), &RouterSettings::default());
    Ok(objects)
}

/// What the routers read: the manifests, and the Secrets beside the certificates.
fn sources(options: &UpOptions) -> Vec<PathBuf> {
    let mut sources = options.manifests.clone();
    sources.push(options.certs.clone());
    sources
}

/// What the DNS server of the first router answers: names below those of load balancers of `fleet` for
/// them, others for the cluster or for who is asked outside.
fn answering(options: &UpOptions, fleet: &Fleet) -> Answering {
    Answering { view: Some(Arc::new(Names::new(fleet.clone()))), ..options.dns.clone() }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Settings of router `index`: zone a or b.
fn settings(options: &UpOptions, ports: Ports, index: usize) -> RouterSettings {
    let defaults = RouterSettings::default();
    RouterSettings {
        manifests: sources(options),
        http: vec![loopback(0)],
        https: vec![loopback(0)],
        admin: loopback(ports.admin[index]),
        dns: (index == 0).then(|| loopback(ports.dns)),
        default_cert: Some(DefaultCert::Path(options.certs.join("default.pem"))),
        // The development CA has signed the pods' certificates, too.
        destination_ca: Some(options.certs.join("ca.pem")),
        workers: defaults.workers.div_ceil(2),
        proxy_protocol: true,
        allow_loopback_endpoints: true,
        allow_wildcard_routes: true,
        redirect_https_port: Some(ports.https),
        access_log: options.access_log,
        timeouts: Timeouts {
            drain_delay: Duration::ZERO,
            drain_grace: GRACE,
            ..Timeouts::default()
        },
        ..defaults
    }
}

/// The port of a router's only listener of a kind.
fn port(listeners: &[SocketAddr]) -> u16 {
    listeners.first().map_or(0, SocketAddr::port)
}

/// The configuration of the load balancer: what OpenShift sets up on AWS, on loopback.
fn load_balancer(ports: Ports, a: &Router, b: &Router) -> anyhow::Result<NlbConfig> {
    let group = |name: &str, ports: [u16; 2]| {
        format!(
            "  - name: {name}\n    port: {}\n    healthCheck: {{protocol: HTTP, path: \
             /healthz/ready, intervalSeconds: 5, timeoutSeconds: 2, healthyThresholdCount: 2, \
             unhealthyThresholdCount: 2}}\n    attributes: {{proxy_protocol_v2.enabled: \
             \"true\"}}\n    targets:\n      - {{id: 127.0.0.1, port: {}, availabilityZone: a, \
             healthCheckPort: {}}}\n      - {{id: 127.0.0.1, port: {}, availabilityZone: b, \
             healthCheckPort: {}}}\n",
            ports[0],
            ports[0],
            a.admin.port(),
            ports[1],
            b.admin.port()
        )
    };
    let mut config = parse(&format!(
        "name: up\nzones: [{{name: a, address: 127.0.0.1}}, {{name: b, address: {NODE_B}}}]\n\
         attributes: {{load_balancing.cross_zone.enabled: \"true\"}}\nlisteners:\n  - {{port: \
         {HTTP}, protocol: TCP, targetGroup: http}}\n  - {{port: {HTTPS}, protocol: TCP, \
         targetGroup: https}}\ntargetGroups:\n{}{}",
        group("http", [port(&a.http), port(&b.http)]),
        group("https", [port(&a.https), port(&b.https)])
    ))?;
    for (listener, port) in config.listeners.iter_mut().zip([ports.http, ports.https]) {
        listener.address.set_port(port);
    }
    Ok(config)
}

/// Waits until every target has passed its first check.
async fn healthy(balancer: &NlbHandle) -> anyhow::Result<()> {
    let mut changes = balancer.changes();
    let all = async {
        while !balancer.targets().iter().all(|target| target.state == State::Healthy) {
            if changes.changed().await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(START, all).await.context("the routers did not become healthy targets")
}

/// Commands to paste.
fn banner(up: &Up, certs: &Path) -> std::io::Result<()> {
    let Up { objects, pods, balancer, .. } = up;
    let mut out = std::io::stdout().lock();
    let ca = certs.join("ca.pem");
    let wharf = program();
    writeln!(
        out,
        "wharf is up: NLB on 127.0.0.1:{HTTP} (HTTP) and 127.0.0.1:{HTTPS} (HTTPS), two routers, \
         {pods} sample pods, {} routes",
        objects.routes.len()
    )?;
    let plain = objects.routes.iter().find(|route| route.object.spec.tls.is_none());
    if let Some(route) = plain {
        let spec = &route.object.spec;
        let host = &spec.host;
        writeln!(out, "\n  curl -H 'Host: {host}' http://127.0.0.1:{HTTP}{}", spec.path)?;
        writeln!(
            out,
            "  dig +short -p {DNS} @127.0.0.1 {}.{}.svc.cluster.local",
            spec.to.name, route.key.namespace
        )?;
        writeln!(out, "  {wharf} explain http://{host}{}", spec.path)?;
        writeln!(out, "  {wharf} trace http://{host}{}", spec.path)?;
    }
    let secure = objects.routes.iter().find(|route| route.object.spec.tls.is_some());
    if let Some(route) = secure {
        let host = &route.object.spec.host;
        writeln!(
            out,
            "  curl --cacert {} --resolve {host}:{HTTPS}:127.0.0.1 https://{host}:{HTTPS}/",
            ca.display()
        )?;
        writeln!(
            out,
            "  curl -L --cacert {} --resolve {host}:{HTTP}:127.0.0.1 --resolve \
             {host}:{HTTPS}:127.0.0.1 http://{host}:{HTTP}/",
            ca.display()
        )?;
    }
    writeln!(out, "  dig +short -p {DNS} @127.0.0.1 {}", balancer.names().regional)?;
    writeln!(out, "  {wharf} get routes")?;
    writeln!(out, "  {wharf} get targets")?;
    writeln!(out, "  curl http://127.0.0.1:{}/metrics", ADMIN[0])?;
    writeln!(out, "\nEdit the manifests and see it live. Ctrl-C stops everything.")?;
    out.flush()
}
