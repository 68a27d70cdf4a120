//! Calls about listeners and their certificates (spec/l4-dns.md A.1, A.9, A.13).

use std::collections::BTreeSet;

use super::{
    Account, Forward, Listener, Maker, NUMBER, Owner, Page, PageOf,
    attributes::{self, Attributes},
    error::{Code, Refusal, invalid},
    groups::{port, protocol},
    limits, may_change,
};
use crate::nlb::{config::Protocol, tls::policy::Policy};

/// Policies of ALPN (A.9).
const ALPN: [&str; 5] = ["None", "HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred"];
/// The security policy of a TLS listener that names none.
const DEFAULT_POLICY: &str = "ELBSecurityPolicy-2016-08";
/// Weight of a group at most (A.1).
const MAX_WEIGHT: u32 = 999;

/// Arguments of `CreateListener`.
#[derive(Clone, Debug, Default)]
pub struct NewListener {
    /// ARN of the load balancer.
    pub load_balancer: String,
    /// What it shall be.
    pub listener: ListenerChange,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
}

/// What a call says about a listener; the rest stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ListenerChange {
    /// `Port`.
    pub port: Option<u32>,
    /// `Protocol`.
    pub protocol: Option<String>,
    /// `DefaultActions`; none given if empty.
    pub actions: Vec<Action>,
    /// ARNs of `Certificates`.
    pub certificates: Vec<String>,
    /// `SslPolicy`.
    pub ssl_policy: Option<String>,
    /// `AlpnPolicy`.
    pub alpn_policy: Option<String>,
    /// `MutualAuthentication.Mode`.
    pub mutual_authentication: Option<String>,
}

/// An entry of `DefaultActions`.
#[derive(Clone, Debug, Default)]
pub struct Action {
    /// `Type`.
    pub kind: String,
    /// `TargetGroupArn`.
    pub group: Option<String>,
    /// `ForwardConfig.TargetGroups`, with weights.
    pub groups: Vec<(String, Option<u32>)>,
    /// `ForwardConfig.TargetGroupStickinessConfig.Enabled`.
    pub sticky: bool,
}

/// Which listeners are asked for.
#[derive(Clone, Debug, Default)]
pub struct ListenerFilter {
    /// Those of this load balancer.
    pub load_balancer: Option<String>,
    /// These.
    pub arns: Vec<String>,
    /// The page.
    pub page: PageOf,
}

impl Account {
    /// `CreateListener`. The same call again gives the same listener.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn create_listener(
        &mut self,
        wanted: NewListener,
        maker: &mut Maker<'_>,
    ) -> Result<Listener, Refusal> {
        let balancer = wanted.load_balancer;
        may_change(&self.balancer(&balancer)?.owner)?;
        if wanted.listener.protocol.is_none() {
            return Err(invalid("A listener protocol must be specified"));
        }
        let number = wanted.listener.port.ok_or_else(|| invalid("A port must be specified"))?;
        if wanted.listener.actions.is_empty() {
            return Err(invalid("A listener must have a default action"));
        }
        let mut listener = Listener {
            arn: String::new(),
            load_balancer: balancer.clone(),
            protocol: Protocol::Tcp,
            port: port(number)?,
            forward: Vec::new(),
            certificates: Vec::new(),
            ssl_policy: None,
            alpn_policy: None,
            attributes: Attributes::new(),
            tags: super::tags::of_new(&wanted.tags)?,
            owner: Owner::Api,
        };
        self.change(&mut listener, wanted.listener)?;
        if let Some(other) = self.listeners_of(&balancer).find(|it| it.port == listener.port) {
            let same = Listener {
                arn: other.arn.clone(),
                attributes: other.attributes.clone(),
                tags: other.tags.clone(),
                ..listener.clone()
            };
            return if same == *other { Ok(same) } else { Err(taken(listener.port)) };
        }
        if self.listeners_of(&balancer).count() >= limits::LISTENERS {
            let text = format!("A load balancer has at most {} listeners", limits::LISTENERS);
            return Err(Code::TooManyListeners.because(text));
        }
        let resource = balancer.rsplit("loadbalancer/").next().unwrap_or_default();
        listener.arn = format!(
            "arn:aws:elasticloadbalancing:{}:{NUMBER}:listener/{resource}/{}",
            self.environment.region,
            maker.id()
        );
        self.listeners.insert(listener.arn.clone(), listener.clone());
        self.check_targets(&balancer)?;
        self.config(&balancer)?;
        Ok(listener)
    }

    /// `ModifyListener`.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn modify_listener(
        &mut self,
        arn: &str,
        change: ListenerChange,
    ) -> Result<&Listener, Refusal> {
        let mut listener = self.listener_mut(arn)?.clone();
        if let Some(number) = change.port {
            listener.port = port(number)?;
        }
        self.change(&mut listener, change)?;
        let balancer = listener.load_balancer.clone();
        let others = |other: &&Listener| other.arn != arn && other.port == listener.port;
        if self.listeners_of(&balancer).any(|other| others(&other)) {
            return Err(taken(listener.port));
        }
        self.listeners.insert(arn.to_owned(), listener);
        self.check_targets(&balancer)?;
        self.config(&balancer)?;
        self.listener(arn)
    }

    /// Takes over all of `change` but the port.
    fn change(&self, listener: &mut Listener, change: ListenerChange) -> Result<(), Refusal> {
        if let Some(name) = &change.protocol {
            let Some(protocol) = protocol(name)? else {
                let text = format!("Listeners of the protocol '{name}' are not served");
                return Err(Code::UnsupportedProtocol.because(text));
            };
            listener.protocol = protocol;
            let known = attributes::of_listener(protocol);
            let has = attributes::all(&known, &Attributes::new());
            listener.attributes.retain(|key, _| has.iter().any(|(other, _)| other == key));
        }
        if !change.actions.is_empty() {
            listener.forward = forward(&change.actions)?;
        }
        self.check_forward(listener)?;
        if change.mutual_authentication.is_some_and(|mode| mode != "off") {
            let text = "Network load balancers have no mutual authentication";
            return Err(Code::InvalidConfigurationRequest.because(text));
        }
        if listener.protocol != Protocol::Tls {
            let alpn = change.alpn_policy.is_some_and(|policy| policy != "None");
            if !change.certificates.is_empty() || change.ssl_policy.is_some() || alpn {
                let text = "Certificates, SslPolicy and AlpnPolicy are for TLS listeners";
                return Err(Code::InvalidConfigurationRequest.because(text));
            }
            listener.certificates.clear();
            (listener.ssl_policy, listener.alpn_policy) = (None, None);
            return Ok(());
        }
        match &change.certificates[..] {
            [] if listener.certificates.is_empty() => {
                return Err(invalid("A certificate must be specified for TLS listeners"));
            },
            [] => {},
            [arn] => {
                self.check_certificate(arn)?;
                listener.certificates.retain(|other| other != arn);
                let present = usize::from(!listener.certificates.is_empty());
                listener.certificates.splice(0..present, [arn.clone()]);
            },
            _ => {
                return Err(invalid("Exactly one certificate, the default one, is specified here"));
            },
        }
        let policy = change.ssl_policy.or_else(|| listener.ssl_policy.take());
        let policy = policy.unwrap_or_else(|| DEFAULT_POLICY.to_owned());
        if Policy::named(&policy).is_none() {
            let text = format!("SSL policy '{policy}' not found");
            return Err(Code::SslPolicyNotFound.because(text));
        }
        listener.ssl_policy = Some(policy);
        if let Some(alpn) = change.alpn_policy {
            if !ALPN.contains(&alpn.as_str()) {
                let text = format!("ALPN policy '{alpn}' is none of {}", ALPN.join(", "));
                return Err(Code::AlpnPolicyNotFound.because(text));
            }
            listener.alpn_policy = Some(alpn);
        }
        Ok(())
    }

    /// The groups are there, of this API, speak what the listener may forward to, and belong to no
    /// other load balancer (A.1).
    fn check_forward(&self, listener: &Listener) -> Result<(), Refusal> {
        for Forward { group: arn, .. } in &listener.forward {
            let group = self.group(arn)?;
            may_change(&group.owner)?;
            if !listener.protocol.may_forward_to(group.protocol) {
                let text = format!(
                    "The protocol {} of target group '{arn}' is incompatible with the listener \
                     protocol {}",
                    group.protocol.as_str(),
                    listener.protocol.as_str()
                );
                return Err(Code::IncompatibleProtocols.because(text));
            }
            if self.balancer_of(arn).is_some_and(|other| other.arn != listener.load_balancer) {
                let text = format!(
                    "The target group '{arn}' cannot be associated with more than one load balancer"
                );
                return Err(Code::TargetGroupAssociationLimit.because(text));
            }
        }
        Ok(())
    }

    /// `DeleteListener`.
    ///
    /// # Errors
    /// It is not there, or not of this API.
    pub fn delete_listener(&mut self, arn: &str) -> Result<(), Refusal> {
        self.listener_mut(arn)?;
        self.listeners.remove(arn);
        Ok(())
    }

    /// `DescribeListeners`.
    ///
    /// # Errors
    /// One that is named, or the load balancer, is not there; or neither is named.
    pub fn describe_listeners(&self, filter: &ListenerFilter) -> Result<Page<&Listener>, Refusal> {
        if filter.load_balancer.is_some() != filter.arns.is_empty() {
            return Err(invalid(
                "You must specify either listener ARNs or a load balancer ARN, and not both",
            ));
        }
        if let Some(arn) = &filter.load_balancer {
            self.balancer(arn)?;
        }
        for arn in &filter.arns {
            self.listener(arn)?;
        }
        let wanted = |listener: &&Listener| match &filter.load_balancer {
            Some(arn) => listener.load_balancer == *arn,
            None => filter.arns.contains(&listener.arn),
        };
        filter.page.cut(self.listeners.values().filter(wanted).collect(), |listener| &listener.arn)
    }

    /// `DescribeListenerAttributes`.
    ///
    /// # Errors
    /// It is not there.
    pub fn listener_attributes(&self, arn: &str) -> Result<Vec<(String, String)>, Refusal> {
        let listener = self.listener(arn)?;
        Ok(attributes::all(&attributes::of_listener(listener.protocol), &listener.attributes))
    }

    /// `ModifyListenerAttributes`.
    ///
    /// # Errors
    /// An attribute that is not known, out of range or without effect here.
    pub fn modify_listener_attributes(
        &mut self,
        arn: &str,
        changes: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let listener = self.listener_mut(arn)?;
        let known = attributes::of_listener(listener.protocol);
        attributes::modify(&known, &mut listener.attributes, changes)?;
        let balancer = listener.load_balancer.clone();
        self.config(&balancer)?;
        self.listener_attributes(arn)
    }

    /// `AddListenerCertificates`. Those that are there do not matter.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn add_certificates(&mut self, arn: &str, added: &[String]) -> Result<(), Refusal> {
        if self.listener_mut(arn)?.protocol != Protocol::Tls {
            let text = "Certificates are for TLS listeners";
            return Err(Code::InvalidConfigurationRequest.because(text));
        }
        for certificate in added {
            self.check_certificate(certificate)?;
            let listener = self.listener_mut(arn)?;
            if !listener.certificates.contains(certificate) {
                listener.certificates.push(certificate.clone());
            }
        }
        let listener = self.listener(arn)?;
        if listener.certificates.len() > limits::CERTIFICATES + 1 {
            let text = format!(
                "A listener has at most {} certificates beside the default one",
                limits::CERTIFICATES
            );
            return Err(Code::TooManyCertificates.because(text));
        }
        self.config(&listener.load_balancer).map(|_valid| ())
    }

    /// `RemoveListenerCertificates`. Those that are not there do not matter.
    ///
    /// # Errors
    /// The default certificate cannot be removed.
    pub fn remove_certificates(&mut self, arn: &str, removed: &[String]) -> Result<(), Refusal> {
        let listener = self.listener_mut(arn)?;
        if listener.certificates.first().is_some_and(|default| removed.contains(default)) {
            let text = "The default certificate of a listener cannot be removed";
            return Err(Code::OperationNotPermitted.because(text));
        }
        listener.certificates.retain(|other| !removed.contains(other));
        Ok(())
    }

    /// `DescribeListenerCertificates`: ARNs, and which one is the default.
    ///
    /// # Errors
    /// It is not there.
    pub fn describe_certificates(
        &self,
        arn: &str,
        page: &PageOf,
    ) -> Result<Page<(&str, bool)>, Refusal> {
        let all = self.listener(arn)?.certificates.iter().enumerate();
        let items = all.map(|(index, arn)| (arn.as_str(), index == 0)).collect();
        page.cut(items, |(arn, _)| arn)
    }

    fn check_certificate(&self, arn: &str) -> Result<(), Refusal> {
        if self.environment.certificates.contains_key(arn) {
            return Ok(());
        }
        Err(Code::CertificateNotFound.because(format!("Certificate ARN '{arn}' is not found")))
    }
}

fn taken(port: u16) -> Refusal {
    let text = format!("A listener already exists on port {port} for this load balancer");
    Code::DuplicateListener.because(text)
}

/// The one forward action.
fn forward(actions: &[Action]) -> Result<Vec<Forward>, Refusal> {
    let [action] = actions else {
        return Err(Code::TooManyActions.because("A listener has one default action"));
    };
    if action.kind != "forward" {
        let text = format!("The action type '{}' is not 'forward'", action.kind);
        return Err(Code::InvalidLoadBalancerAction.because(text));
    }
    if action.sticky {
        let text = "Target group stickiness in the action is not served; use the attribute \
                    stickiness.enabled of the groups";
        return Err(Code::InvalidConfigurationRequest.because(text));
    }
    let groups = match (&action.group, &action.groups[..]) {
        (Some(one), []) => vec![Forward { group: one.clone(), weight: 1 }],
        (Some(one), [(other, _)]) if one != other => {
            return Err(invalid("TargetGroupArn and ForwardConfig name different target groups"));
        },
        (Some(_), [_, _, ..]) => {
            return Err(invalid("TargetGroupArn is for a single target group"));
        },
        (None, []) => return Err(invalid("A forward action must have a target group")),
        (_, many) => {
            let of = |(group, weight): &(String, Option<u32>)| Forward {
                group: group.clone(),
                weight: weight.unwrap_or(1),
            };
            many.iter().map(of).collect()
        },
    };
    if let Some(heavy) = groups.iter().find(|forward| forward.weight > MAX_WEIGHT) {
        return Err(invalid(format!("The weight {} is not from 0 to {MAX_WEIGHT}", heavy.weight)));
    }
    let different: BTreeSet<_> = groups.iter().map(|forward| &forward.group).collect();
    if different.len() < groups.len() {
        return Err(invalid("A target group stands twice in a forward action"));
    }
    Ok(groups)
}
