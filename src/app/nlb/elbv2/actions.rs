//! The operations: parameters to calls of the account, and its answers to XML (spec/l4-dns.md A.13).
//!
//! Pure. Always holds: an operation says which parameters it knows by asking for them.

use crate::nlb::tls::policy::Policy;
use std::collections::HashMap;

use super::{
    Failure,
    form::{FormError, Part},
    shapes::{self, State},
    xml::Xml,
};
use crate::nlb::{
    account::{
        Account, Action, BalancerFilter, CheckChange, GroupFilter, LIMITS, ListenerChange,
        ListenerFilter, Maker, NewBalancer, NewGroup, NewListener, Page, PageOf, Refusal,
        SubnetMapping, TargetKey,
    },
    stats::TargetState,
};

/// What an operation works with.
pub(super) struct Context<'a, 'm> {
    pub(super) account: &'a mut Account,
    pub(super) maker: &'a mut Maker<'m>,
    /// The running targets of a load balancer, by its ARN.
    pub(super) running: &'a dyn Fn(&str) -> Vec<TargetState>,
    /// Load balancers that could not be started, with the reason.
    pub(super) failed: &'a HashMap<String, String>,
}

/// An operation.
type Operation = fn(&mut Context<'_, '_>, &Part<'_>, &mut Xml) -> Result<(), Failure>;

/// Operations of elbv2 that are not served: rules, trust stores, capacity and address pools are of
/// application load balancers or of AWS.
const NOT_SERVED: [&str; 20] = [
    "AddTrustStoreRevocations",
    "CreateRule",
    "CreateTrustStore",
    "DeleteRule",
    "DeleteSharedTrustStoreAssociation",
    "DeleteTrustStore",
    "DescribeCapacityReservation",
    "DescribeRules",
    "DescribeTrustStoreAssociations",
    "DescribeTrustStoreRevocations",
    "DescribeTrustStores",
    "GetResourcePolicy",
    "GetTrustStoreCaCertificatesBundle",
    "GetTrustStoreRevocationContent",
    "ModifyCapacityReservation",
    "ModifyIpPools",
    "ModifyRule",
    "ModifyTrustStore",
    "RemoveTrustStoreRevocations",
    "SetRulePriorities",
];

/// The operation of this name, and whether it may change something.
pub(super) fn operation(action: &str) -> Result<(Operation, bool), Failure> {
    let found: (Operation, bool) = match action {
        "CreateLoadBalancer" => (create_load_balancer, true),
        "DeleteLoadBalancer" => {
            (|to, form, _| Ok(to.account.delete_balancer(&arn(form, "LoadBalancer"))?), true)
        },
        "DescribeLoadBalancers" => (describe_load_balancers, false),
        "DescribeLoadBalancerAttributes" => (
            |to, form, xml| {
                let all = to.account.balancer_attributes(&arn(form, "LoadBalancer"))?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            false,
        ),
        "ModifyLoadBalancerAttributes" => (
            |to, form, xml| {
                let arn = arn(form, "LoadBalancer");
                let all =
                    to.account.modify_balancer_attributes(&arn, &pairs(form, "Attributes"))?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            true,
        ),
        "SetSubnets" => (set_subnets, true),
        "SetSecurityGroups" => (
            |to, form, xml| {
                let groups = form.texts("SecurityGroups");
                to.account.set_security_groups(&arn(form, "LoadBalancer"), &groups)?;
                xml.texts("SecurityGroupIds", groups);
                Ok(())
            },
            true,
        ),
        "SetIpAddressType" => (
            |to, form, xml| {
                let kind = form.needed("IpAddressType");
                to.account.set_ip_address_type(&arn(form, "LoadBalancer"), &kind)?;
                xml.text("IpAddressType", kind);
                Ok(())
            },
            true,
        ),
        other => return of_groups(other),
    };
    Ok(found)
}

/// The operations about target groups, and those about any resource.
fn of_groups(action: &str) -> Result<(Operation, bool), Failure> {
    let found: (Operation, bool) = match action {
        "CreateTargetGroup" => (create_target_group, true),
        "DeleteTargetGroup" => {
            (|to, form, _| Ok(to.account.delete_group(&arn(form, "TargetGroup"))?), true)
        },
        "ModifyTargetGroup" => (modify_target_group, true),
        "DescribeTargetGroups" => (describe_target_groups, false),
        "DescribeTargetGroupAttributes" => (
            |to, form, xml| {
                let all = to.account.group_attributes(&arn(form, "TargetGroup"))?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            false,
        ),
        "ModifyTargetGroupAttributes" => (
            |to, form, xml| {
                let arn = arn(form, "TargetGroup");
                let all = to.account.modify_group_attributes(&arn, &pairs(form, "Attributes"))?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            true,
        ),
        "RegisterTargets" => (
            |to, form, _| {
                let targets = targets(form)?;
                Ok(to.account.register(&arn(form, "TargetGroup"), &targets)?)
            },
            true,
        ),
        "DeregisterTargets" => (
            |to, form, _| {
                let targets = targets(form)?;
                Ok(to.account.deregister(&arn(form, "TargetGroup"), &targets)?)
            },
            true,
        ),
        "DescribeTargetHealth" => (describe_target_health, false),
        "AddTags" => (
            |to, form, _| {
                Ok(to.account.add_tags(&form.texts("ResourceArns"), &pairs(form, "Tags"))?)
            },
            true,
        ),
        "RemoveTags" => (
            |to, form, _| {
                let keys = form.texts("TagKeys");
                Ok(to.account.remove_tags(&form.texts("ResourceArns"), &keys)?)
            },
            true,
        ),
        "DescribeTags" => (
            |to, form, xml| {
                shapes::tags(xml, &to.account.tags(&form.texts("ResourceArns"))?);
                Ok(())
            },
            false,
        ),
        "DescribeSSLPolicies" => (describe_ssl_policies, false),
        "DescribeAccountLimits" => (
            |_, form, xml| {
                let page = page(form)?.cut(LIMITS.to_vec(), |(name, _)| name)?;
                xml.list("Limits", &page.items, |xml, (name, most)| {
                    xml.text("Name", name);
                    xml.text("Max", most.to_string());
                });
                next(xml, &page);
                Ok(())
            },
            false,
        ),
        other => return of_listeners(other),
    };
    Ok(found)
}

/// The operations about listeners.
fn of_listeners(action: &str) -> Result<(Operation, bool), Failure> {
    let found: (Operation, bool) = match action {
        "CreateListener" => (
            |to, form, xml| {
                let wanted = NewListener {
                    load_balancer: arn(form, "LoadBalancer"),
                    listener: listener_change(form)?,
                    tags: pairs(form, "Tags"),
                };
                let made = to.account.create_listener(wanted, to.maker)?;
                xml.list("Listeners", [&made], shapes::listener);
                Ok(())
            },
            true,
        ),
        "DeleteListener" => {
            (|to, form, _| Ok(to.account.delete_listener(&arn(form, "Listener"))?), true)
        },
        "ModifyListener" => (
            |to, form, xml| {
                let change = listener_change(form)?;
                let changed = to.account.modify_listener(&arn(form, "Listener"), change)?;
                xml.list("Listeners", [changed], shapes::listener);
                Ok(())
            },
            true,
        ),
        "DescribeListeners" => (
            |to, form, xml| {
                let filter = ListenerFilter {
                    load_balancer: form.text("LoadBalancerArn"),
                    arns: form.texts("ListenerArns"),
                    page: page(form)?,
                };
                let page = to.account.describe_listeners(&filter)?;
                xml.list("Listeners", page.items.iter().copied(), shapes::listener);
                next(xml, &page);
                Ok(())
            },
            false,
        ),
        "DescribeListenerAttributes" => (
            |to, form, xml| {
                let all = to.account.listener_attributes(&arn(form, "Listener"))?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            false,
        ),
        "ModifyListenerAttributes" => (
            |to, form, xml| {
                let (arn, changes) = (arn(form, "Listener"), pairs(form, "Attributes"));
                let all = to.account.modify_listener_attributes(&arn, &changes)?;
                shapes::attributes(xml, &all);
                Ok(())
            },
            true,
        ),
        "AddListenerCertificates" => (
            |to, form, xml| {
                let added = certificates(form);
                to.account.add_certificates(&arn(form, "Listener"), &added)?;
                xml.list("Certificates", &added, |xml, arn| xml.text("CertificateArn", arn));
                Ok(())
            },
            true,
        ),
        "RemoveListenerCertificates" => (
            |to, form, _| {
                let removed = certificates(form);
                Ok(to.account.remove_certificates(&arn(form, "Listener"), &removed)?)
            },
            true,
        ),
        "DescribeListenerCertificates" => (
            |to, form, xml| {
                let wanted = page(form)?;
                let page = to.account.describe_certificates(&arn(form, "Listener"), &wanted)?;
                xml.list("Certificates", &page.items, |xml, (arn, default)| {
                    xml.text("CertificateArn", arn);
                    xml.text("IsDefault", default.to_string());
                });
                next(xml, &page);
                Ok(())
            },
            false,
        ),
        other if NOT_SERVED.contains(&other) => {
            let text = format!("{other} is not served: there are network load balancers only");
            return Err(Failure::sender("OperationNotPermitted", text));
        },
        other => {
            let text = format!("The action {other} is not valid for this web service.");
            return Err(Failure::sender("InvalidAction", text));
        },
    };
    Ok(found)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::sender(refusal.code.as_str(), refusal.message)
    }
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        Self::sender("ValidationError", error.to_string())
    }
}

/// The ARN that an operation is about.
fn arn(form: &Part<'_>, of: &str) -> String {
    form.needed(&format!("{of}Arn"))
}

/// `Key` and `Value` of a list.
fn pairs(form: &Part<'_>, name: &str) -> Vec<(String, String)> {
    let pair = |part: &Part<'_>| (part.needed("Key"), part.needed("Value"));
    form.parts(name).iter().map(pair).collect()
}

fn page(form: &Part<'_>) -> Result<PageOf, FormError> {
    let marker = form.text("Marker").filter(|marker| !marker.is_empty());
    Ok(PageOf { marker, size: form.number("PageSize")? })
}

fn next<T>(xml: &mut Xml, page: &Page<T>) {
    xml.optional("NextMarker", page.next.as_ref());
}

fn subnets(form: &Part<'_>) -> Result<Vec<SubnetMapping>, Failure> {
    let (names, mappings) = (form.texts("Subnets"), form.parts("SubnetMappings"));
    if !names.is_empty() && !mappings.is_empty() {
        let text = "You must specify either subnets or subnet mappings, and not both";
        return Err(Failure::sender("ValidationError", text));
    }
    let plain = |subnet| SubnetMapping { subnet, ..SubnetMapping::default() };
    let mapped = |part: &Part<'_>| SubnetMapping {
        subnet: part.needed("SubnetId"),
        address: part.text("PrivateIPv4Address"),
        allocation: part.text("AllocationId"),
    };
    Ok(names.into_iter().map(plain).chain(mappings.iter().map(mapped)).collect())
}

/// `off` is what it is anyway.
fn no_source_nat(form: &Part<'_>) -> Result<(), Failure> {
    match form.text("EnablePrefixForIpv6SourceNat").as_deref() {
        None | Some("off") => Ok(()),
        Some(_) => {
            let text = "There are no IPv6 prefixes for source NAT";
            Err(Failure::sender("InvalidConfigurationRequest", text))
        },
    }
}

fn create_load_balancer(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    no_source_nat(form)?;
    let wanted = NewBalancer {
        name: form.needed("Name"),
        kind: form.text("Type"),
        scheme: form.text("Scheme"),
        ip_address_type: form.text("IpAddressType"),
        subnets: subnets(form)?,
        security_groups: form.texts("SecurityGroups"),
        tags: pairs(form, "Tags"),
    };
    let made = to.account.create_balancer(wanted, to.maker)?;
    xml.list("LoadBalancers", [&made], |xml, it| shapes::balancer(xml, it, State::Provisioning));
    Ok(())
}

fn describe_load_balancers(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let filter = BalancerFilter {
        arns: form.texts("LoadBalancerArns"),
        names: form.texts("Names"),
        page: page(form)?,
    };
    let page = to.account.describe_balancers(&filter)?;
    let state = State::Running(to.failed);
    xml.list("LoadBalancers", &page.items, |xml, it| shapes::balancer(xml, it, state));
    next(xml, &page);
    Ok(())
}

fn set_subnets(to: &mut Context<'_, '_>, form: &Part<'_>, xml: &mut Xml) -> Result<(), Failure> {
    no_source_nat(form)?;
    let (subnets, kind) = (subnets(form)?, form.text("IpAddressType"));
    let arn = arn(form, "LoadBalancer");
    let balancer = to.account.set_subnets(&arn, &subnets, kind.as_deref())?;
    shapes::zones(xml, balancer);
    xml.text("IpAddressType", "ipv4");
    xml.text("EnablePrefixForIpv6SourceNat", "off");
    Ok(())
}

fn check(form: &Part<'_>) -> Result<CheckChange, FormError> {
    Ok(CheckChange {
        protocol: form.text("HealthCheckProtocol"),
        port: form.text("HealthCheckPort"),
        enabled: form.truth("HealthCheckEnabled")?,
        path: form.text("HealthCheckPath"),
        matcher: form.part("Matcher").text("HttpCode"),
        interval: form.number("HealthCheckIntervalSeconds")?,
        timeout: form.number("HealthCheckTimeoutSeconds")?,
        healthy: form.number("HealthyThresholdCount")?,
        unhealthy: form.number("UnhealthyThresholdCount")?,
    })
}

fn create_target_group(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let wanted = NewGroup {
        name: form.needed("Name"),
        protocol: form.text("Protocol"),
        port: form.number("Port")?,
        vpc: form.text("VpcId"),
        target_type: form.text("TargetType"),
        ip_address_type: form.text("IpAddressType"),
        check: check(form)?,
        tags: pairs(form, "Tags"),
    };
    let made = to.account.create_group(wanted, to.maker)?;
    xml.list("TargetGroups", [&made], |xml, it| shapes::group(xml, it, to.account));
    Ok(())
}

fn modify_target_group(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let changed = to.account.modify_group(&arn(form, "TargetGroup"), check(form)?)?.clone();
    xml.list("TargetGroups", [&changed], |xml, it| shapes::group(xml, it, to.account));
    Ok(())
}

fn describe_target_groups(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let filter = GroupFilter {
        load_balancer: form.text("LoadBalancerArn"),
        arns: form.texts("TargetGroupArns"),
        names: form.texts("Names"),
        page: page(form)?,
    };
    let page = to.account.describe_groups(&filter)?;
    xml.list("TargetGroups", &page.items, |xml, it| shapes::group(xml, it, to.account));
    next(xml, &page);
    Ok(())
}

fn targets(form: &Part<'_>) -> Result<Vec<TargetKey>, FormError> {
    let target = |part: &Part<'_>| {
        Ok(TargetKey {
            id: part.needed("Id"),
            port: part.number("Port")?,
            zone: part.text("AvailabilityZone"),
            quic_server: part.text("QuicServerId"),
        })
    };
    form.parts("Targets").iter().map(target).collect()
}

fn describe_target_health(
    to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let (group, wanted) = (arn(form, "TargetGroup"), targets(form)?);
    let include = form.texts("Include");
    let anomalies = include.iter().any(|what| what == "AnomalyDetection" || what == "All");
    let balancer = to.account.balancer_of(&group).map(|balancer| balancer.arn.clone());
    let running = balancer.map(|arn| (to.running)(&arn)).unwrap_or_default();
    let all = to.account.health(&group, &wanted, &running)?;
    xml.list("TargetHealthDescriptions", &all, |xml, it| shapes::health(xml, it, anomalies));
    Ok(())
}

fn certificates(form: &Part<'_>) -> Vec<String> {
    form.parts("Certificates").iter().map(|part| part.needed("CertificateArn")).collect()
}

fn listener_change(form: &Part<'_>) -> Result<ListenerChange, FormError> {
    let group = |part: &Part<'_>| Ok((part.needed("TargetGroupArn"), part.number("Weight")?));
    let action = |part: &Part<'_>| {
        let forward = part.part("ForwardConfig");
        let sticky = forward.part("TargetGroupStickinessConfig");
        // A single action needs no order.
        part.number("Order")?;
        sticky.number("DurationSeconds")?;
        Ok(Action {
            kind: part.needed("Type"),
            group: part.text("TargetGroupArn"),
            groups: forward.parts("TargetGroups").iter().map(group).collect::<Result<_, _>>()?,
            sticky: sticky.truth("Enabled")?.unwrap_or(false),
        })
    };
    Ok(ListenerChange {
        port: form.number("Port")?,
        protocol: form.text("Protocol"),
        actions: form.parts("DefaultActions").iter().map(action).collect::<Result<_, _>>()?,
        certificates: certificates(form),
        ssl_policy: form.text("SslPolicy"),
        alpn_policy: form.texts("AlpnPolicy").into_iter().next(),
        mutual_authentication: form.part("MutualAuthentication").text("Mode"),
    })
}

fn describe_ssl_policies(
    _to: &mut Context<'_, '_>,
    form: &Part<'_>,
    xml: &mut Xml,
) -> Result<(), Failure> {
    let names = form.texts("Names");
    if let Some(unknown) = names.iter().find(|name| Policy::named(name).is_none()) {
        let text = format!("SSL policy '{unknown}' not found");
        return Err(Failure::sender("SSLPolicyNotFound", text));
    }
    // Other types have no load balancer here, and so no policy.
    let kind = form.text("LoadBalancerType").is_none_or(|kind| kind == "network");
    let mut wanted = Policy::all();
    wanted.retain(|it| kind && (names.is_empty() || names.iter().any(|name| name == it.name())));
    let page = page(form)?.cut(wanted, |policy| policy.name())?;
    xml.list("SslPolicies", &page.items, shapes::policy);
    next(xml, &page);
    Ok(())
}
