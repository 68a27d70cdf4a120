//! Sample pods for `wharf up`: four for each selector Service that has no endpoints of its own.
//!
//! Pods listen on loopback addresses of their own (127.NET.SERVICE.POD), so that the cluster DNS answers
//! with four different addresses, as it does in a cluster.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use rustls::ServerConfig;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{bind, offline},
    backend::{self, Identity},
    model::{
        objects::{ObjectKey, Objects, Stored},
        service::{Protocol, Service, ServicePort, TargetPort},
        slice::{Endpoint, EndpointSlice, SlicePort},
    },
};

/// Pods for each Service.
const PODS: u8 = 4;

/// Most Services that get pods.
const MAX_SERVICES: usize = 200;

/// One pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) namespace: Arc<str>,
    pub(super) address: IpAddr,
    pub(super) ports: Vec<u16>,
    /// The Secret with its certificate, if it speaks TLS.
    pub(super) secret: Option<ObjectKey>,
}

/// The pods to start, and the slices that make them known.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) pods: Vec<Pod>,
    pub(super) objects: Objects,
}

/// Pods in 127.`net`.0.0/16 for the Services of `objects` that select pods and have no endpoints.
pub(super) fn plan(objects: &Objects, net: u8) -> Plan {
    let mut served: HashSet<ObjectKey> =
        objects.endpoints.iter().map(|endpoints| endpoints.key.clone()).collect();
    for slice in &objects.slices {
        if let Some(name) = &slice.object.service {
            served.insert(ObjectKey::new(&slice.key.namespace, name));
        }
    }
    let mut services: Vec<_> = objects
        .services
        .iter()
        .filter(|service| !served.contains(&service.key) && service.object.has_selector)
        .collect();
    services.sort_by(|a, b| a.key.cmp(&b.key));
    if services.len() > MAX_SERVICES {
        tracing::warn!(services = services.len(), MAX_SERVICES, "not every Service gets pods");
    }
    let mut plan = Plan::default();
    for (index, service) in (0_u8..).zip(services.into_iter().take(MAX_SERVICES)) {
        plan.add([net, index], service);
    }
    plan
}

impl Plan {
    fn add(&mut self, [net, index]: [u8; 2], service: &Stored<Service>) {
        let ports: Vec<&ServicePort> = service
            .object
            .ports
            .iter()
            .filter(|port| port.protocol == Some(Protocol::Tcp))
            .collect();
        let numbers: Vec<u16> = (0..).zip(&ports).map(|(n, port)| number(n, port)).collect();
        let secret = offline::serving_cert(service)
            .map(|secret| ObjectKey::new(&service.key.namespace, secret));
        let pods: Vec<Pod> = (1..=PODS)
            .map(|pod| Pod {
                name: format!("{}-{pod}", service.key.name),
                namespace: Arc::clone(&service.key.namespace),
                address: IpAddr::V4(Ipv4Addr::new(127, net, index, pod)),
                ports: numbers.clone(),
                secret: secret.clone(),
            })
            .collect();
        let slice = slice(&service.key, &ports, &numbers, &pods);
        let key = ObjectKey::new(&service.key.namespace, &format!("{}-up", service.key.name));
        self.objects.slices.push(Arc::new(Stored::in_memory(key, slice, "wharf up")));
        self.pods.extend(pods);
    }
}

/// The port a pod listens on: the target port if it is a number that needs no privilege, else one
/// from 8080 on.
fn number(index: u16, port: &ServicePort) -> u16 {
    let wanted = match port.target {
        TargetPort::Number(number) => number,
        TargetPort::Name(_) => 0,
        TargetPort::Same => port.port,
    };
    u16::try_from(wanted).ok().filter(|wanted| *wanted >= 1024).unwrap_or(8080 + index)
}

fn slice(
    service: &ObjectKey,
    ports: &[&ServicePort],
    numbers: &[u16],
    pods: &[Pod],
) -> EndpointSlice {
    let ports = ports.iter().zip(numbers).map(|(port, number)| SlicePort {
        name: Arc::clone(&port.name),
        app_protocol: port.app_protocol.clone(),
        port: Some(i32::from(*number)),
        protocol: Some(Protocol::Tcp),
    });
    let endpoints = pods.iter().map(|pod| Endpoint {
        addresses: [pod.address].into(),
        pod: Some(pod.name.as_str().into()),
        ready: true,
        serving: true,
        ..Endpoint::default()
    });
    EndpointSlice {
        service: Some(Arc::clone(&service.name)),
        ports: ports.collect(),
        endpoints: endpoints.collect(),
    }
}

/// Binds and starts every pod; `secrets` hold the certificates of those that speak TLS.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    pods: &[Pod],
    secrets: &[Arc<Stored<Secret>>],
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    for pod in pods {
        let tls = pod.secret.as_ref().map(|secret| tls(secret, secrets)).transpose()?;
        for port in &pod.ports {
            let address = SocketAddr::new(pod.address, *port);
            let listener = bind::tokio_tcp(address)?;
            let identity = Identity::new(&pod.name, &pod.namespace);
            let (tls, cancel) = (tls.clone(), cancel.clone());
            tasks.spawn(async move {
                if let Err(error) = backend::serve(listener, identity, tls, cancel).await {
                    tracing::error!(%address, %error, "a sample pod ended");
                }
            });
        }
    }
    Ok(())
}

fn tls(key: &ObjectKey, secrets: &[Arc<Stored<Secret>>]) -> anyhow::Result<Arc<ServerConfig>> {
    let secret = secrets.iter().find(|secret| secret.key == *key);
    let data = secret.and_then(|secret| secret.object.data.as_ref());
    let field = |name: &str| data.and_then(|data| data.get(name)).map_or(&[][..], |it| &it.0);
    let config = backend::server_config(field("tls.crt"), field("tls.key"))
        .with_context(|| format!("the pods cannot use Secret {key}"))?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RouterSettings;

    fn service(namespace: &str, name: &str, spec: serde_json::Value) -> Arc<Stored<Service>> {
        annotated(namespace, name, spec, serde_json::json!({}))
    }

    fn annotated(
        namespace: &str,
        name: &str,
        spec: serde_json::Value,
        annotations: serde_json::Value,
    ) -> Arc<Stored<Service>> {
        let metadata = serde_json::json!({ "annotations": annotations });
        let object = serde_json::json!({ "metadata": metadata, "spec": spec });
        let object = serde_json::from_value(object).unwrap();
        Arc::new(Stored::in_memory(ObjectKey::new(namespace, name), object, "test"))
    }

    #[test]
    fn selector_services_without_endpoints_get_four_pods() {
        let spec = |selector: serde_json::Value| {
            serde_json::json!({
                "selector": selector,
                "ports": [
                    {"name": "http", "port": 80, "targetPort": 8080},
                    {"name": "named", "port": 81, "targetPort": "web"},
                    {"name": "low", "port": 82},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                ],
            })
        };
        let mut objects = Objects::default();
        objects.services.push(service("b", "plain", spec(serde_json::json!({}))));
        objects.services.push(service("b", "picked", spec(serde_json::json!({"app": "x"}))));
        objects.services.push(service("a", "sliced", spec(serde_json::json!({"app": "x"}))));
        let sliced = EndpointSlice { service: Some("sliced".into()), ..EndpointSlice::default() };
        let key = ObjectKey::new("a", "s");
        objects.slices.push(Arc::new(Stored::in_memory(key, sliced, "test")));
        let plan = plan(&objects, 77);
        let names: Vec<_> = plan.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["picked-1", "picked-2", "picked-3", "picked-4"]);
        assert_eq!(plan.pods[3].address, IpAddr::from([127, 77, 0, 4]));
        assert_eq!(plan.pods[0].ports, [8080, 8081, 8082]);
        assert_eq!(plan.pods[0].secret, None);
        let slice = &plan.objects.slices[0].object;
        assert_eq!((slice.endpoints.len(), slice.ports.len()), (4, 3));
    }
    /// A Service that wants a certificate for its pods has pods that speak TLS, with one that bears its
    /// name; without the Secret nothing is started.
    #[test]
    fn pods_with_a_serving_certificate_speak_tls() {
        let mut objects = Objects::default();
        let spec = serde_json::json!({"selector": {"app": "x"}, "ports": [{"port": 8443}]});
        let annotations = serde_json::json!({ offline::SERVING_CERT: "vault-tls" });
        objects.services.push(annotated("a", "vault", spec, annotations));
        let wanted = offline::wanted_secrets(&objects);
        assert_eq!(wanted[0].secret, "vault-tls");
        assert_eq!(wanted[0].hosts, ["vault.a.svc.cluster.local", "vault.a.svc"]);
        let plan = plan(&objects, 77);
        let key = ObjectKey::new("a", "vault-tls");
        assert!(plan.pods.iter().all(|pod| pod.secret.as_ref() == Some(&key)));
        assert!(tls(&key, &[]).is_err());
        let folder = tempfile::tempdir().unwrap();
        crate::app::cert::run(folder.path(), &wanted, false).unwrap();
        let (made, _) = offline::objects(&[folder.path().to_owned()], &RouterSettings::default());
        assert!(tls(&key, &made.secrets).is_ok());
    }
}
